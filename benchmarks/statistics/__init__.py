"""Do cheap statistics take the decision that the exact one takes? Measured on real data."""
