"""Whose turn is it, when one task has a hundred times the rows of another?"""
