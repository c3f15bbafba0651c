"""The answer of a metric that has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class Undefined:
    """A metric without a value on these items, and why. Falsy, and never a number.

    `float()`, comparison and arithmetic raise, so that a mean over scores cannot take it in
    unseen: test `isinstance(score, Undefined)` first.

    >>> Undefined("one class only")
    Undefined(reason='one class only')
    >>> Undefined("one class only").to_dict()
    {'undefined': 'one class only'}
    """

    reason: str

    def __bool__(self) -> bool:
        return False

    def __float__(self) -> NoReturn:
        raise TypeError(f"an undefined metric is not a number ({self.reason})")

    def __str__(self) -> str:
        return f"undefined ({self.reason})"

    def to_dict(self) -> dict[str, str]:
        """The JSON form, `{"undefined": reason}`."""
        return {"undefined": self.reason}

    @staticmethod
    def from_dict(value: Any) -> Any:
        """Read a JSON score back: `{"undefined": reason}` becomes an `Undefined`, others stay."""
        if isinstance(value, dict) and set(value) == {"undefined"}:
            return Undefined(str(value["undefined"]))
        return value


NO_LABEL = Undefined("no labelled item")
ONE_CLASS = Undefined("one class only among the labelled items")
CONSTANT_TARGET = Undefined("the labelled targets are constant")
CONSTANT_PREDICTION = Undefined("the predictions are constant")
NO_POSITIVE = Undefined("no labelled item is positive")
