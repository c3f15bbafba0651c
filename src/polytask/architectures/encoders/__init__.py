"""Encoders that need no download; any torch module is one too."""
