"""The two halves of a stage's channels, and how far their weights are from orthogonal."""

from __future__ import annotations

from torch import Tensor, nn

from polytask.errors import UserError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def check_even(stage: int, width: int) -> None:
    """Raise `UserError` for channels that cannot be split in two equal subspaces."""
    if width % 2:
        raise UserError(
            f"stage {stage} of the encoder answers {width} channels, which do not split in two "
            "equal subspaces. Expected an even number: change its width, or leave it out of stages."
        )


def output_weight(stage: nn.Module, width: int) -> nn.Parameter | None:
    """The weight of the last layer registered in a stage that answers `width` channels."""
    found = None
    for layer in stage.modules():
        if isinstance(layer, LAYERS) and isinstance(layer.weight, nn.Parameter):
            found = layer.weight if len(layer.weight) == width else found
    return found


def inner_products(weight: Tensor) -> Tensor:
    """||G_1^T G_2||_F^2 for a weight [units, ...]: the units of a half are the columns of G."""
    first, second = weight.flatten(1).chunk(2)
    return (first @ second.T).square().sum()
