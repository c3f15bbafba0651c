"""Real data need a connection the first time: the one place that decides what its lack means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from polytask.data.fetch import UnreachableError

REQUIRED = "POLYTASK_TESTS_ONLINE"
"""Set where there must be a connection (in CI): a test that cannot fetch then fails."""


@contextmanager
def needs_connection() -> Iterator[None]:
    """Skip the test when a client itself reports that it has no connection; nothing else skips."""
    try:
        yield
    except UnreachableError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"no connection: {error}")
