"""A GAN for spatial fields whose discriminator also judges their Moran maps."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from polytask.architectures import seeded
from polytask.errors import NonFiniteError, UserError
from polytask.optimization import create_method
from polytask.spatial._progress import epochs_shown
from polytask.spatial.gan_parts import (
    IMAGE,
    Discriminator,
    Generator,
    check_fields,
    draw_noise,
    head_names,
)


class SpatialGAN(nn.Module):
    """Generates fields; the discriminator learns Moran helper tasks beside real or generated.

    K. Klemmer & D. B. Neill, "Auxiliary-task learning for geographic data with autoregressive
    embeddings", SIGSPATIAL 2021, https://arxiv.org/abs/2006.10461. The discriminator minimises
    L_image + λ sum_r L_moran_r, each the cross-entropy of real and of generated fields; the
    generator minimises that of `image` alone, and gets no gradient from the helpers (so in the
    published code, https://github.com/konstantinklemmer/sxl, whose values are the defaults).

    Variants: `levels=0` is the plain GAN, 1 is MAT, 3 is MRES-MAT; `weight="uncertainty"` learns
    the weights of all discriminator tasks, the main one included: sum_i L_i / (2 sigma_i²) + log
    sigma_i, polytask's `uncertainty`. There the published code overwrites the cross-entropy by a
    squared error; the paper is followed. Networks are one pair of convolutional ones (see
    `Generator`, `Discriminator`); losses are computed from logits. An epoch leaves out a
    smaller last batch.

    Everything follows from `seed`: the initial weights (the generator's do not depend on the
    variant), noise and order. `state_dict` holds both networks, both optimizers, the learned
    weights, the random stream and the history, so a loaded one goes on as the saved one would.
    Cost of a step: 1 generator and 2 (1 + levels) + 1 discriminator passes with their gradients.

    Args:
        size: 16 or 32, side of the fields.
        channels: of the fields.
        levels: resolutions of Moran's I among the helpers; 0 for none.
        weight: λ of every helper (0.01, 0.1 and 1 in the paper), or "uncertainty".
        noise: length of the generator's input.
        width: channels of the layer next to the field, in both networks.
        lr, betas: of both Adam optimizers.
        real_label: what the discriminator, and the generator, take for real.
        seed: of everything random.

    Raises:
        UserError: a setting out of range.

    """

    def __init__(
        self,
        size: int = 32,
        channels: int = 1,
        levels: int = 0,
        weight: float | Literal["uncertainty"] = 0.1,
        noise: int = 100,
        width: int = 32,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        real_label: float = 0.9,
        seed: int = 99,
    ) -> None:
        super().__init__()
        _check(levels, weight, noise, lr, real_label)
        self.size, self.channels, self.real_label = size, channels, real_label
        with seeded(seed, "generator"):
            self.generator = Generator(size, channels, noise, width)
        with seeded(seed, "discriminator"):
            self.discriminator = Discriminator(size, channels, levels, width)
        if weight == "uncertainty":
            self.balancer = create_method("uncertainty")
        else:
            fixed = dict.fromkeys(head_names(levels)[1:], weight)
            self.balancer = create_method("linear", weights=fixed)
        self.stream = torch.Generator().manual_seed(seed)
        self.history: list[dict[str, float]] = []
        """Mean losses of every epoch: of the generator, and of each discriminator task."""
        self._optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=lr, betas=betas)
            for name, net in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    def fit(
        self, fields: Tensor, epochs: int = 100, batch_size: int = 32, progress: bool = True
    ) -> list[dict[str, float]]:
        """Train on these fields for so many further epochs; answers the whole `history`.

        A line an epoch goes to the logger `polytask.spatial` at level INFO; in a terminal there
        is a bar instead.

        Args:
            fields: float [N, channels, size, size] in [-1, 1], as `unit_range` makes them.
            epochs: at least 1.
            batch_size: at least 2 (batch normalisation).
            progress: whether a bar is wanted.

        Raises:
            UserError: fields of another shape or range, fewer than a batch, not finite.
            NonFiniteError: a loss is not finite; that step was not taken.
        """
        if type(epochs) is not int or epochs < 1 or type(batch_size) is not int or batch_size < 2:
            raise UserError(
                "expected at least 1 epoch and a batch of 2, as whole numbers, found "
                f"epochs={epochs!r} and batch_size={batch_size!r}."
            )
        checked = check_fields(fields, self.size, self.channels, batch_size)
        device = next(self.parameters()).device
        self.train()
        with epochs_shown(progress, epochs) as tell:
            for _ in range(epochs):
                order = torch.randperm(len(checked), generator=self.stream)
                whole = order[: len(order) // batch_size * batch_size].split(batch_size)
                sums: dict[str, float] = {}
                for rows in whole:
                    for name, loss in self._step(checked[rows].float().to(device)).items():
                        sums[name] = sums.get(name, 0.0) + loss
                self.history.append({name: total / len(whole) for name, total in sums.items()})
                tell(len(self.history), self.history[-1])
        return self.history

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """`count` generated fields [count, channels, size, size], on the CPU.

        By running statistics of batch normalisation, so one field does not depend on the others.
        Raises `UserError` for fewer than 1.
        """
        if type(count) is not int or count < 1:
            raise UserError(f"count must be a whole number of at least 1, found {count!r}.")
        stream = torch.Generator().manual_seed(seed)
        training = self.generator.training
        self.generator.eval()
        try:
            with torch.no_grad():
                noise = draw_noise(count, self.generator.noise, stream, self.generator)
                return torch.cat([self.generator(part) for part in noise.split(256)]).cpu()
        finally:
            self.generator.train(training)

    def _step(self, real: Tensor) -> dict[str, float]:
        """One step of the discriminator, then one of the generator on new noise."""
        optimizers = self._optimizers
        with torch.no_grad():
            generated = self._generate(len(real))
        optimizers["discriminator"].zero_grad(set_to_none=True)
        on_real, on_generated = self.discriminator(real), self.discriminator(generated)
        losses = {
            name: self._loss(on_real[name], self.real_label) + self._loss(on_generated[name], 0.0)
            for name in on_real
        }
        self.balancer.backward(losses)
        optimizers["discriminator"].step()
        optimizers["generator"].zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        try:
            answer = self.discriminator(self._generate(len(real)), helpers=False)[IMAGE]
            loss = self._loss(answer, self.real_label)
            if not bool(loss.isfinite()):
                raise NonFiniteError(
                    f"the generator's loss is {loss.item()} in epoch {len(self.history) + 1}; "
                    "expected a number. Try a smaller lr."
                )
            loss.backward()
        finally:
            self.discriminator.requires_grad_(True)
        optimizers["generator"].step()
        named = {"generator": loss} | {f"discriminator/{k}": v for k, v in losses.items()}
        return {name: float(value.detach()) for name, value in named.items()}

    def _generate(self, rows: int) -> Tensor:
        noise = draw_noise(rows, self.generator.noise, self.stream, self.generator)
        fields: Tensor = self.generator(noise)
        return fields

    @staticmethod
    def _loss(logits: Tensor, label: float) -> Tensor:
        return cross_entropy(logits, torch.full_like(logits, label))

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds beside the tensors of the networks and of the balancer."""
        return {
            "optimizers": {name: one.state_dict() for name, one in self._optimizers.items()},
            "stream": self.stream.get_state(),
            "history": [dict(epoch) for epoch in self.history],
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Read back by `load_state_dict`."""
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.stream.set_state(state["stream"].cpu())
        self.history = [dict(epoch) for epoch in state["history"]]


def _check(levels: int, weight: object, noise: int, lr: float, real_label: float) -> None:
    """Raise `UserError` for a setting out of range; the networks check their own."""
    if type(levels) is not int or not 0 <= levels <= 3:
        raise UserError(f"levels must be 0, 1, 2 or 3, found {levels!r}.")
    numeric = isinstance(weight, int | float) and not isinstance(weight, bool)
    if weight != "uncertainty" and not (numeric and 0 <= weight < float("inf")):  # type: ignore[operator]
        raise UserError(
            f"weight must be λ, a number of at least 0, or 'uncertainty', found {weight!r}."
        )
    if type(noise) is not int or noise < 1:
        raise UserError(f"noise must be a whole number of at least 1, found {noise!r}.")
    if not 0 < lr < float("inf"):
        raise UserError(f"lr must be above 0, found {lr!r}.")
    if not 0.5 < real_label <= 1:
        raise UserError(f"real_label must be above 0.5 and at most 1, found {real_label!r}.")
