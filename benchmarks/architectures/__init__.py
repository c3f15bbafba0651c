"""Ways of sharing against each other on four real data sets."""
