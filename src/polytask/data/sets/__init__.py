"""Data sets that are fetched or bundled: one file each, named as the set."""
