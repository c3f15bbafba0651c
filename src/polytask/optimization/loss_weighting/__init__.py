"""Weights from loss values: one file a method."""
