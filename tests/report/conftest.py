"""Studies to report on, made in `report_studies`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from report_studies import STUDIES, make_study


@pytest.fixture
def study() -> dict[str, Any]:
    """Three tasks, five methods, five seeds."""
    return make_study()


@pytest.fixture(params=list(STUDIES))
def any_study(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each of the made-up studies in turn."""
    return STUDIES[request.param]()


@pytest.fixture
def make() -> Callable[..., dict[str, Any]]:
    """The maker of studies itself."""
    return make_study
