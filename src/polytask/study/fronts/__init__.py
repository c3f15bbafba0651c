"""Which trade-offs between tasks there are: one model a preference, and the front of them.

`polytask.pareto` lives here.
"""
