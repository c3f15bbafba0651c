"""Do helper tasks help the main one? The claims of the papers, on real data."""
