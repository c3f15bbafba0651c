"""Linear centred kernel alignment."""

from __future__ import annotations

from polytask.study.relations.estimators._similarity import Similarity


class CKA(Similarity):
    """Linear CKA: networks of single tasks whose features are alike, however they are turned.

    `polytask.relationships.linear_cka` (Kornblith et al. 2019, https://arxiv.org/abs/1905.00414)
    of the features at the end of a stage, on validation rows. Symmetric: it does not tell who
    helps whom. Biased upwards where features are many and rows few.

    Args:
        stage: which, from 0, or negative from the last.
        rows: validation rows to compare, drawn evenly; at least 4.

    Raises:
        UserError: a stage that is no whole number, fewer than 4 rows.

    """

    needs = "the networks of single tasks"
    unit = "alignment of representations, from 0 to 1"
    gains = False
    measure = "cka"

    def __init__(self, stage: int = -1, rows: int = 500) -> None:
        super().__init__(stage, rows)
