"""The encoder for sequences of codes: what it reads, what padding does, what it learns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from real_inputs import DIGITS, TABLE, TEXT, Widths, first, text
from torch import Tensor

import polytask
from polytask import Trainer
from polytask.architectures import create_architecture, create_encoder
from polytask.architectures._represent import represent
from polytask.architectures.encoders._tokens import Characters, Codes
from polytask.architectures.encoders.transformer import Transformer
from polytask.data import Dataset, Preprocessor
from polytask.errors import UserError
from polytask.study.setup import describe_encoder
from polytask.tabular.fitting import FitSettings, default_encoder, fit_dataset
from polytask.tasks import Task

ROWS = 40


def lines() -> dict[str, Tensor]:
    return first(text()[0], ROWS)


def made(seed: int = 0, **options: Any) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(TEXT, **{"width": 16, "heads": 2, **options}).eval()


def test_it_answers_a_vector_at_every_token_and_says_which_are_there() -> None:
    encoder = made(layers=3)
    z, context = represent(encoder, lines(), 16)
    assert z.shape == (ROWS, 12, 16)
    assert encoder.output_size == 16
    assert len(encoder.stages) == 3
    assert context["mask"].equal(lines()["case"].ne(0))
    assert encoder(lines()).equal(z)


def test_every_input_is_read() -> None:
    encoder, x = made(), lines()
    z = encoder(x)
    changed = x["case"].clone()
    changed[2, 0] = changed[2, 0] % 3 + 1
    assert not encoder({**x, "case": changed})[2].equal(z[2])
    for letter in range(3):
        changed = x["characters"].clone()
        changed[2, 0, letter] += 1
        assert not encoder({**x, "characters": changed})[2].equal(z[2]), letter


def test_the_order_of_words_and_letters_counts() -> None:
    encoder, x = made(), lines()
    row = int(x["case"].ne(0).sum(1).argmax())
    z = encoder(x)[row].mean(0)
    words = {name: value.clone() for name, value in x.items()}
    for value in words.values():
        value[row, [0, 3]] = value[row, [3, 0]]
    assert not torch.allclose(encoder(words)[row].mean(0), z, atol=1e-4)
    letters = x["characters"].clone()
    word = int(letters[row].ne(0).sum(1).argmax())
    letters[row, word] = letters[row, word].flip(0)
    assert not torch.allclose(encoder({**x, "characters": letters})[row].mean(0), z, atol=1e-4)


def test_what_stands_behind_the_end_changes_nothing() -> None:
    """Fewer columns of padding, or more, give the same tokens."""
    encoder, x = made(), lines()
    row = slice(0, 1)
    length = int(x["case"][row].ne(0).sum())
    assert 0 < length < 12
    short = {name: value[row, :length] for name, value in x.items()}
    whole = {name: value[row] for name, value in x.items()}
    torch.testing.assert_close(encoder(short), encoder(whole)[:, :length])


def test_items_do_not_see_each_other() -> None:
    encoder, x = made(), lines()
    torch.testing.assert_close(encoder(first(x, 3)), encoder(x)[:3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_items_without_any_token_give_finite_numbers_and_gradients(training: bool) -> None:
    x = lines()
    empty = x["case"].ne(0).sum(1) == 0
    assert empty.any(), "the text has empty lines"
    only = {name: value[empty] for name, value in x.items()}
    tasks = [Task("a", "regression"), Task("b", "regression", places=(12,))]
    model = create_architecture("hard_sharing", made(), tasks).train(training)
    for batch in (x, only):
        model.zero_grad()
        outputs = model(batch)
        assert all(o.isfinite().all() for o in outputs.values())
        assert outputs["b"].shape == (len(batch["case"]), 1, 12)
        sum(o.sum() for o in outputs.values()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        assert all(g.isfinite().all() for g in gradients)


def test_a_task_of_the_whole_item_reads_the_mean_of_the_tokens_that_are_there() -> None:
    encoder, x = made(), lines()
    model = create_architecture("hard_sharing", encoder, [Task("a", "regression")]).eval()
    z, mask = encoder(x), x["case"].ne(0)
    head = model.heads["a"].layers
    for row in range(ROWS):
        if mask[row].any():
            expected = head(z[row, mask[row]].mean(0))
            torch.testing.assert_close(model(x)["a"][row], expected, rtol=1e-4, atol=1e-5)


def test_codes_never_seen_are_read_as_zero() -> None:
    torch.manual_seed(0)
    codes = Codes(5, 8)
    assert codes.weight[0].eq(0).all()
    assert codes(torch.tensor([5, 99, -1, 2**40])).eq(0).all()
    assert codes(torch.arange(1, 5)).ne(0).all()
    assert codes.weight[1:5].norm(dim=1).mean().item() == pytest.approx(1, abs=0.4)
    # A token whose only code is unknown is a token all the same.
    _, context = represent(made(), {name: value * 0 + 500 for name, value in lines().items()})
    assert context["mask"].all()


def test_a_word_is_the_maximum_over_its_letters_alone() -> None:
    torch.manual_seed(0)
    part = Characters(128, 4, 6)
    word = torch.tensor([[[65, 66, 67, 0, 0, 0]]])
    torch.testing.assert_close(part(word), part(word[..., :3]))
    assert part(torch.zeros(1, 2, 5, dtype=torch.int64)).eq(0).all()
    with torch.no_grad():
        part.codes.weight[0] = 7  # learned, or loaded: padding stays zero
    torch.testing.assert_close(part(word), part(word[..., :3]))


def test_dropout_acts_in_training_alone() -> None:
    encoder = made(dropout=0.3)
    assert encoder(lines()).equal(encoder(lines()))
    encoder.train()
    assert not encoder(lines()).equal(encoder(lines()))


def test_training_fits_the_codes_and_new_ones_are_left() -> None:
    x = {name: value.numpy() for name, value in text()[0].items()}
    x["characters"] = x["characters"].copy()
    x["characters"][-1, 0, 0] = 300
    targets = {"about": text()[1]["about"].numpy()}
    task = Task("about", "multiclass", classes=tuple("abcdef"))
    data = Dataset("t", x, targets, {"about": task})
    fitted = Preprocessor.fit(data, np.arange(200))
    seen = int(x["characters"][:200].max()) + 1
    assert seen < 128
    assert fitted.spec.tokens == (("characters", (12, 8), seen), ("case", (12,), 4))
    assert Preprocessor.from_dict(fitted.to_dict()).spec == fitted.spec
    encoder = create_encoder("transformer", fitted.spec, width=8)
    inputs = fitted.transform({name: value[-3:] for name, value in x.items()})
    assert inputs["characters"].max() == 300
    assert encoder(inputs).isfinite().all()
    # Numbers below 0 are no codes, columns and floats are none, and a spec of before has none.
    others = {"a": x["case"] - 1, "b": x["case"] * 0.5, "categorical": x["case"]}
    other = Dataset("t", others, targets, {"about": task})
    assert Preprocessor.fit(other, np.arange(9)).spec.tokens == ()
    old = fitted.to_dict()
    del old["spec"]["tokens"]
    assert Preprocessor.from_dict(old).spec.tokens == ()


def described() -> Dataset:
    """The lines as a data set: two tasks at every word, one of the line."""
    inputs, targets = text()
    tasks = [
        Task("long", "binary"),
        Task("vowels", "multiclass", classes=(0, 1, 2)),
        Task("about", "multiclass", classes=tuple("abcdef")),
    ]
    return Dataset(
        "lines",
        {name: value.numpy() for name, value in inputs.items()},
        {name: value.numpy() for name, value in targets.items()},
        {task.name: task for task in tasks},
    )


def test_it_is_the_default_for_sequences_of_codes_alone() -> None:
    data = described()
    assert describe_encoder(None, data).name == "transformer"
    assert default_encoder(data) == "transformer"
    data.inputs["weight"] = np.ones((data.n, 12), np.float32)
    with pytest.raises(UserError, match="none fits the inputs"):
        describe_encoder(None, data)


def test_one_model_from_data_to_outputs() -> None:
    data = described()
    splits = {"train": np.arange(0, data.n, 2), "val": np.arange(1, data.n, 2)}
    settings = FitSettings(epochs=2, batch_size=64, lr=1e-2)
    fitted, history = fit_dataset(data, splits, settings)
    assert history.epochs[-1]["train/long/loss"] < history.epochs[0]["train/long/loss"]
    outputs = fitted.outputs(data.inputs)
    shapes = {name: tuple(output.shape) for name, output in outputs.items()}
    assert shapes == {
        "long": (data.n, 1, 12),
        "vowels": (data.n, 3, 12),
        "about": (data.n, 6),
    }


@pytest.mark.slow
def test_a_study_of_words_and_lines_with_nothing_said_of_the_encoder(tmp_path: Path) -> None:
    polytask.compare(
        described(),
        methods=["linear"],
        seeds=1,
        epochs=1,
        lr=[1e-2],
        batch_size=64,
        workers=1,
        out=tmp_path / "study",
        progress=False,
    )
    assert (tmp_path / "study" / "report.html").stat().st_size > 10_000
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert set(results["tasks"]) == {"long", "vowels", "about"}


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TABLE, {}, "found columns. For tables use the encoder mlp"),
        (DIGITS, {}, "found an image (1, 8, 8)"),
        (Widths(), {}, "found no inputs"),
        (Widths(other=(("points", (4, 3)),)), {}, "found points (4, 3)"),
        (Widths(numeric=2, tokens=TEXT.tokens), {}, "leave these inputs unread: numeric"),
        (
            Widths(other=(*TEXT.other, ("x", (3,))), tokens=TEXT.tokens),
            {},
            "leave these inputs unread: x",
        ),
        (Widths(tokens=(("a", (4,), 3), ("b", (5, 2), 3))), {}, "found {'a': 4, 'b': 5}"),
        (TEXT, {"width": 10}, "found width=10 and heads=4. Take width=12"),
        (TEXT, {"dropout": 1}, "dropout must be in [0, 1), found 1"),
        (TEXT, {"layers": 0}, "layers must be"),
        (TEXT, {"layer": 2}, "did you mean 'layers'"),
    ],
)
def test_it_refuses(spec: Widths, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        create_encoder("transformer", spec, **options)


def test_it_refuses_other_batches() -> None:
    encoder, x = made(), lines()
    with pytest.raises(UserError, match="unknown input 'case'"):
        encoder({"characters": x["characters"]})
    with pytest.raises(UserError, match=r"'case' \[N, 12\].*found shape \(40, 13\)"):
        encoder({**x, "case": torch.ones(40, 13, dtype=torch.int64)})
    with pytest.raises(UserError, match=r"of type torch.float32"):
        encoder({**x, "case": x["case"].float()})
    with pytest.raises(UserError, match="as many tokens in every input"):
        encoder({**x, "case": x["case"][:, :5]})
    with pytest.raises(UserError, match="read by the encoder transformer"):
        create_encoder("mlp", Widths(numeric=1, other=TEXT.other))


def test_it_learns_words_and_lines() -> None:
    """Tags of words, counts at every token, and what a line is about, all better than guessing."""
    inputs, targets = text()
    tasks = [
        Task("long", "binary", places=(12,)),
        Task("vowels", "multiclass", classes=(0, 1, 2), places=(12,)),
        Task("about", "multiclass", classes=tuple("abcdef")),
    ]
    order = torch.randperm(len(targets["about"]), generator=torch.Generator().manual_seed(0))
    parts = [
        ({k: v[rows] for k, v in inputs.items()}, {k: v[rows] for k, v in targets.items()})
        for rows in (order[:300], order[300:])
    ]
    model = create_architecture("hard_sharing", made(width=32), tasks)
    trainer = Trainer(
        model, tasks, epochs=12, lr=1e-2, batch_size=32, patience=None, progress=False
    )
    trainer.fit(parts[0])
    scores = trainer.evaluate(parts[1])
    most = {"long": 0.57, "vowels": 0.5, "about": 0.31}
    gains = {task: scores[f"test/{task}/accuracy"] - share for task, share in most.items()}
    assert gains["long"] > 0.2, scores
    assert gains["vowels"] > 0.35, scores
    assert gains["about"] > 0.03, scores
