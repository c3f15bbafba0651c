"""The spatial GAN: who learns from what, seeds, saving, variants, errors."""

from __future__ import annotations

import io
import logging
from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from polytask.auxiliary.moran import local_moran
from polytask.errors import NonFiniteError, UserError
from polytask.spatial import SpatialGAN, mmd2, unit_range
from polytask.spatial.gan_parts import Discriminator

SMALL: dict[str, Any] = {"size": 16, "width": 4, "noise": 8, "seed": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"levels": 0},
    "mat": {"levels": 1},
    "mres": {"levels": 3},
    "learned": {"levels": 1, "weight": "uncertainty"},
}


@cache
def digits(size: int = 16) -> Tensor:
    """The real digits as fields [1797, 1, size, size] in [-1, 1]."""
    images = torch.from_numpy(load_digits().images).float()[:, None]
    return unit_range(interpolate(images, size=(size, size), mode="bilinear"))


def equal(first: nn.Module, second: nn.Module) -> bool:
    one, two = dict(first.named_parameters()), dict(second.named_parameters())
    return list(one) == list(two) and all(one[name].equal(two[name]) for name in one)


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_fields_have_the_shape_and_range(size: int, channels: int) -> None:
    gan = SpatialGAN(size, channels, levels=2, width=4)
    fields = digits(size)[:40].repeat(1, channels, 1, 1)
    gan.fit(fields, epochs=1, batch_size=16, progress=False)
    drawn = gan.sample(5)
    assert drawn.shape == (5, channels, size, size)
    assert drawn.abs().max() <= 1
    assert drawn.isfinite().all()
    assert drawn.equal(gan.sample(5))
    assert not drawn.equal(gan.sample(5, seed=1))
    noise = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    gan.generator.eval()
    torch.testing.assert_close(drawn[:2], gan.generator(noise[:2]).detach())


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_seed_gives_one_training(variant: str) -> None:
    torch.manual_seed(0)
    first = SpatialGAN(**SMALL, **VARIANTS[variant])
    first.fit(digits()[:40], epochs=2, batch_size=16, progress=False)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    second = SpatialGAN(**SMALL, **VARIANTS[variant])
    second.fit(digits()[:40], epochs=2, batch_size=16, progress=False)
    assert first.history == second.history
    assert equal(first, second)
    torch.manual_seed(0)
    assert state.equal(torch.get_rng_state()), "the caller's stream was used"
    third = SpatialGAN(**{**SMALL, "seed": 2}, **VARIANTS[variant])
    assert not equal(first, third)


def test_a_start_does_not_depend_on_the_variant() -> None:
    gans = [SpatialGAN(**SMALL, **variant) for variant in VARIANTS.values()]
    for gan in gans[1:]:
        assert equal(gans[0].generator, gan.generator)
        assert equal(gans[0].discriminator.trunk, gan.discriminator.trunk)
        assert equal(gans[0].discriminator.heads["image"], gan.discriminator.heads["image"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_training_goes_on_as_it_would_have(variant: str) -> None:
    whole = SpatialGAN(**SMALL, **VARIANTS[variant])
    whole.fit(digits()[:48], epochs=4, batch_size=16, progress=False)
    begun = SpatialGAN(**SMALL, **VARIANTS[variant])
    begun.fit(digits()[:48], epochs=2, batch_size=16, progress=False)
    file = io.BytesIO()
    torch.save(begun.state_dict(), file)
    file.seek(0)
    resumed = SpatialGAN(**{**SMALL, "seed": 77}, **VARIANTS[variant])
    resumed.load_state_dict(torch.load(file, weights_only=True))
    resumed.fit(digits()[:48], epochs=2, batch_size=16, progress=False)
    assert resumed.history == whole.history
    assert equal(resumed, whole)
    assert resumed.sample(3).equal(whole.sample(3))


def test_the_discriminator_reads_field_and_maps() -> None:
    torch.manual_seed(0)
    judge = Discriminator(16, levels=2, width=4).eval()
    fields = digits()[:6]
    coarse = local_moran(nn.functional.avg_pool2d(fields, 2))
    level = unit_range(coarse).repeat_interleave(2, 2).repeat_interleave(2, 3)
    grids = {"image": fields, "moran_0": unit_range(local_moran(fields)), "moran_1": level}
    logits = judge(fields)
    assert list(logits) == list(grids)
    for name, grid in grids.items():
        expected = judge.heads[name](judge.trunk(grid)).flatten()
        torch.testing.assert_close(logits[name], expected, atol=1e-5, rtol=1e-5)
    assert list(judge(fields, helpers=False)) == ["image"]


def test_no_gradient_reaches_the_field_through_a_map() -> None:
    judge = Discriminator(16, levels=3, width=4)
    fields = digits()[:6].clone().requires_grad_()
    logits = judge(fields)
    image = torch.autograd.grad(logits["image"].sum(), fields, retain_graph=True)[0]
    assert image.ne(0).any()
    for name in ("moran_0", "moran_1", "moran_2"):
        found = torch.autograd.grad(
            logits[name].sum(), fields, retain_graph=True, allow_unused=True
        )
        assert found[0] is None


def test_a_step_is_the_published_one() -> None:
    """Both updates by hand: D on L_image + λ L_moran, G on the image head with real labels."""
    weight, label = 0.3, 0.9
    gan = SpatialGAN(**SMALL, levels=1, weight=weight)
    twin = SpatialGAN(**SMALL, levels=1, weight=weight)
    real = digits()[:16]
    gan.fit(real, epochs=1, batch_size=16, progress=False)
    twin.train()
    order = torch.randperm(16, generator=twin.stream)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999))
        for net in (twin.discriminator, twin.generator)
    ]

    def loss(logits: Tensor, target: float) -> Tensor:
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    fake = twin.generator(torch.randn(16, 8, generator=twin.stream)).detach()
    on_real, on_fake = twin.discriminator(real[order]), twin.discriminator(fake)
    parts = {name: loss(on_real[name], label) + loss(on_fake[name], 0.0) for name in on_real}
    (parts["image"] + weight * parts["moran_0"]).backward()
    optimizers[0].step()
    fake = twin.generator(torch.randn(16, 8, generator=twin.stream))
    answer = loss(twin.discriminator(fake, helpers=False)["image"], label)
    for parameter in twin.generator.parameters():
        parameter.grad = None
    answer.backward()
    optimizers[1].step()
    for (name, mine), theirs in zip(gan.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)
    expected = {"generator": answer} | {f"discriminator/{k}": v for k, v in parts.items()}
    assert gan.history == [pytest.approx({k: float(v.detach()) for k, v in expected.items()})]


def test_learned_weights_follow_the_losses() -> None:
    """At the optimum of ½ exp(-s) L + ½ s the weight is ½ / L: above ½ where L is below 1."""
    gan = SpatialGAN(**SMALL, levels=1, weight="uncertainty")
    gan.fit(digits()[:64], epochs=3, batch_size=16, progress=False)
    learned = {key: value for key, value in gan.state_dict().items() if "log_variance:" in key}
    names = {key.rpartition(":")[2] for key in learned}
    assert names == {"image", "moran_0"}, "the main task has a learned weight too"
    for key, value in learned.items():
        losses = [epoch[f"discriminator/{key.rpartition(':')[2]}"] for epoch in gan.history]
        assert (float(value) > 0) == (sum(losses) / len(losses) > 1)


def test_training_helps() -> None:
    """Generated digits come closer to real ones than those of the first weights."""
    gan = SpatialGAN(16, levels=1, width=8, seed=0)
    held_out = digits()[1200:1600]
    before = mmd2(held_out, gan.sample(300), "median")
    gan.fit(digits()[:1000], epochs=4, progress=False)
    assert mmd2(held_out, gan.sample(300), "median") < 0.5 * before


def test_an_epoch_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "polytask.spatial"):
        SpatialGAN(**SMALL).fit(digits()[:16], epochs=2, batch_size=16)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2  generator ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 20}, "unknown size of a field '20'"),
        ({"levels": 4}, "levels must be 0, 1, 2 or 3"),
        ({"weight": -0.1}, "number of at least 0, or 'uncertainty'"),
        ({"weight": "uncertain"}, "or 'uncertainty', found 'uncertain'"),
        ({"channels": 0}, "channels must be a whole number"),
        ({"width": 2.5}, "width must be a whole number"),
        ({"noise": 0}, "noise must be"),
        ({"lr": 0}, "lr must be above 0"),
        ({"real_label": 0.2}, "real_label must be"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SpatialGAN(**options)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (digits(32)[:40], r"expected fields \[N, 1, 16, 16\], found \(40, 1, 32, 32\)"),
        (digits()[:40, 0], r"as a floating-point tensor \[N, C, H, W\]"),
        (digits()[:10], "at least one batch of 16 fields, found 10"),
        (digits()[:40] * 3, "lie between -3 and 3"),
        (digits()[:40].masked_fill(digits()[:40] > 0.9, torch.nan), "NaN or infinite"),
    ],
)
def test_fields_are_checked_before_anything_is_trained(fields: Tensor, words: str) -> None:
    gan = SpatialGAN(**SMALL)
    with pytest.raises(UserError, match=words):
        gan.fit(fields, epochs=1, batch_size=16)
    assert gan.history == []


def test_numbers_of_epochs_batches_and_samples_are_checked() -> None:
    gan = SpatialGAN(**SMALL)
    for words in ({"epochs": 0}, {"batch_size": 1}, {"epochs": 1.5}):
        with pytest.raises(UserError, match="at least 1 epoch and a batch of 2"):
            gan.fit(digits()[:40], **words)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="count must be"):
        gan.sample(0)


def test_a_diverged_generator_is_named() -> None:
    gan = SpatialGAN(**SMALL)
    with torch.no_grad():
        gan.discriminator.heads["image"].bias.fill_(torch.inf)
    before = gan.generator.state_dict()["first.0.weight"].clone()
    with pytest.raises(NonFiniteError):
        gan.fit(digits()[:16], epochs=1, batch_size=16, progress=False)
    assert gan.generator.state_dict()["first.0.weight"].equal(before)
