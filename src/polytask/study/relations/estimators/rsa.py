"""Representation similarity analysis."""

from __future__ import annotations

from polytask.study.relations.estimators._similarity import Similarity


class RSA(Similarity):
    """Representation similarity: networks of single tasks that find the same rows alike.

    `polytask.relationships.rsa` (Dwivedi & Roig 2019, https://arxiv.org/abs/1904.11740) of the
    features at the end of a stage, on validation rows. Symmetric: it does not tell who helps whom.

    Args:
        stage: which, from 0, or negative from the last.
        rows: validation rows to compare, drawn evenly; at least 4.

    Raises:
        UserError: a stage that is no whole number, fewer than 4 rows.

    """

    needs = "the networks of single tasks"
    unit = "rank correlation of what is alike, from -1 to 1"
    gains = False
    measure = "rsa"

    def __init__(self, stage: int = -1, rows: int = 500) -> None:
        super().__init__(stage, rows)
