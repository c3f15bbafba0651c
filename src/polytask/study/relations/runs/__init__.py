"""Runs that measure relationships on networks that other runs have trained, one file a kind."""
