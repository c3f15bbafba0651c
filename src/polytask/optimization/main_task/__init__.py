"""Weights of helper tasks, learned for the sake of the main tasks: one file a method."""
