"""Training where most labels are missing, against the usual ways to do without them."""
