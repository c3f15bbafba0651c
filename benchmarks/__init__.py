"""Programs behind every number that polytask publishes; each prints ratios from one run."""
