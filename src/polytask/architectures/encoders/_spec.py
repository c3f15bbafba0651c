"""What an encoder asks about its inputs."""

from __future__ import annotations

from typing import Protocol

from polytask.errors import UserError


class Spec(Protocol):
    """Widths of the prepared inputs; `polytask.data.InputSpec` is one."""

    @property
    def numeric(self) -> int:
        """Number of numeric columns, missing-value indicators included."""

    @property
    def categorical(self) -> tuple[int, ...]:
        """Number of codes of each categorical column; code 0 is unknown or missing."""

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Channels, height, width; None where there is no image."""


def refuse_other(encoder: str, spec: Spec) -> None:
    """Raise `UserError` if the data has inputs of a kind that `encoder` would leave unread."""
    other = [str(name) for name, _ in getattr(spec, "other", ())]
    if other:
        raise UserError(
            f"the encoder {encoder} reads tables or images, and would leave these inputs unread: "
            f"{', '.join(other)}. Drop them, or bring an encoder of your own that reads them; "
            "sequences of whole numbers alone are read by the encoder transformer."
        )
