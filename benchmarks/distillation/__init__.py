"""Networks that learn from single-task teachers, on three real data sets."""
