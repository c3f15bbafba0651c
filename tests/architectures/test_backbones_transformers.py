from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from backbone_cases import SIZES, bert, convnext, images, resnet, sentences, vit
from real_inputs import Output, digits
from torch import Tensor, nn

from polytask import Task, Trainer, create_architecture
from polytask.architectures import HardSharing, SingleTask, as_stages, reinitialise
from polytask.architectures.stages import Staged, entrance_width, stage_shapes, stage_widths
from polytask.errors import UserError

TASKS = [Output("a", 1), Output("b", 3)]
MODELS = {"resnet": resnet, "convnext": convnext, "vit": vit, "bert": bert}


def moved(model: nn.Module, seed: int = 0) -> nn.Module:
    """In eval mode, with every weight moved, so that no norm or scale is what it starts as."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def batch_of(name: str) -> dict[str, Tensor]:
    return sentences(6) if name == "bert" else {"pixel_values": images(6)["image"]}


def last_hidden_state(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    z: Tensor = model(**batch).last_hidden_state
    return z


@pytest.mark.parametrize("name", MODELS)
def test_the_answer_is_the_last_hidden_state_to_the_bit(name: str) -> None:
    model, batch = moved(MODELS[name]()), batch_of(name)
    encoder = as_stages(model)
    assert encoder(batch).equal(last_hidden_state(model, batch))
    # One tensor is the main input, whatever a data set calls it.
    main = next(iter(batch.values()))
    alone = last_hidden_state(model, {next(iter(batch)): main})
    if name == "bert":
        assert not alone.equal(last_hidden_state(model, batch)), "the mask must do something"
        batch = {"input_ids": main, "attention_mask": torch.ones_like(main)}
        assert encoder(batch).equal(last_hidden_state(model, batch))
    else:
        assert encoder({"image": main}).equal(alone)
        assert encoder(main).equal(alone)


@pytest.mark.parametrize(
    ("name", "stages", "dim", "enters", "widths"),
    [
        ("resnet", 2, 1, 4, (4, 8)),
        ("convnext", 2, 1, 4, (4, 8)),
        ("vit", 2, -1, 16, (16, 16)),
        ("bert", 2, -1, 16, (16, 16)),
    ],
)
def test_stages_and_their_widths(
    name: str, stages: int, dim: int, enters: int, widths: tuple[int, ...]
) -> None:
    encoder, batch = as_stages(MODELS[name]()), batch_of(name)
    assert (len(encoder.stages), encoder.channel_dim) == (stages, dim)
    assert stage_widths(encoder) == widths
    assert entrance_width(encoder) == enters
    # What is declared is what is measured.
    assert stage_widths(encoder, batch) == widths
    assert encoder.output_size == stage_shapes(encoder, batch)[-1][dim]


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_the_models_own(name: str) -> None:
    model = MODELS[name]()
    own = {id(p): path for path, p in model.named_parameters()}
    found = [own[id(p)] for p in as_stages(model).parameters()]
    assert len(found) == len(set(found)), "a parameter in two parts"
    left_out = sorted(set(own.values()) - set(found))
    # A pooler, and a norm of the pooled map: the last hidden state does not depend on them.
    unused = {
        "resnet": [],
        "convnext": ["layernorm.bias", "layernorm.weight"],
        "vit": ["pooler.dense.bias", "pooler.dense.weight"],
        "bert": ["pooler.dense.bias", "pooler.dense.weight"],
    }
    assert left_out == unused[name]


def test_the_model_itself_stays_as_it_is() -> None:
    model = moved(bert())
    before = copy.deepcopy(model)
    names, mode = [name for name, _ in model.named_modules()], model.train().training
    as_stages(model)
    assert model.training == mode
    assert [name for name, _ in model.named_modules()] == names
    assert not any(module._forward_hooks for module in model.modules())
    model.eval()
    pooled = model(**sentences(3)).pooler_output
    assert pooled.equal(before(**sentences(3)).pooler_output)


def test_training_an_architecture_trains_the_model() -> None:
    model = bert()
    net = HardSharing(model, TASKS)
    net(sentences(4))["a"].sum().backward()
    gradients = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert gradients == {n for n, _ in model.named_parameters() if not n.startswith("pooler")}


def test_a_model_with_a_head_gives_its_body() -> None:
    from transformers import BertForSequenceClassification

    model = moved(BertForSequenceClassification(bert().config))
    encoder, batch = as_stages(model), sentences(5)
    assert encoder(batch).equal(last_hidden_state(model.bert, batch))
    assert not {id(p) for p in model.classifier.parameters()} & {
        id(p) for p in encoder.parameters()
    }


def test_heads_read_the_mean_of_the_tokens_there_are() -> None:
    torch.manual_seed(0)
    model, batch = bert(), sentences(6)
    net = HardSharing(model, TASKS).eval()
    z = last_hidden_state(model.eval(), batch)
    means = [row[mask.bool()].mean(0) for row, mask in zip(z, batch["attention_mask"], strict=True)]
    expected = net.heads["b"].layers(torch.stack(means))
    torch.testing.assert_close(net(batch)["b"], expected)
    # What stands at padding is of no consequence.
    other = {**batch, "input_ids": batch["input_ids"].where(batch["attention_mask"] > 0, 7)}
    torch.testing.assert_close(net(other)["b"], expected)


def test_a_head_of_ones_own_reads_the_first_token() -> None:
    class First(nn.Linear):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z[:, 0])

    model = bert().eval()
    net = HardSharing(model, TASKS, heads={"a": First(16, 1)}).eval()
    z = last_hidden_state(model, sentences(4))
    assert net(sentences(4))["a"].equal(nn.functional.linear(z[:, 0], *net.heads["a"].parameters()))


def test_token_types_and_ready_made_embeddings_are_passed_on() -> None:
    model, batch = moved(bert()), sentences(4)
    encoder = as_stages(model)
    typed = {**batch, "token_type_ids": (batch["input_ids"] > 9).long()}
    assert encoder(typed).equal(last_hidden_state(model, typed))
    assert not encoder(typed).equal(encoder(batch))
    embedded = {"inputs_embeds": torch.randn(2, 5, 16), "attention_mask": torch.ones(2, 5).long()}
    assert encoder(embedded).equal(last_hidden_state(model, embedded))


def test_an_unknown_input_is_refused_with_the_nearest() -> None:
    net = HardSharing(bert(), TASKS)
    batch = sentences(4)
    with pytest.raises(UserError, match=r"unknown input 'input_id'.*'input_ids'"):
        net({"input_id": batch["input_ids"], "attention_mask": batch["attention_mask"]})
    with pytest.raises(UserError, match="a tensor or a dictionary of tensors"):
        net([batch["input_ids"]])


def families() -> dict[str, tuple[Any, int]]:
    """Configurations of other families, and into how many stages their models are cut."""
    import transformers as library

    text = {"vocab_size": 80, "max_position_embeddings": 40, "num_hidden_layers": 3}
    image = {"image_size": 8, "patch_size": 4, "num_channels": 1, "num_hidden_layers": 3}
    few_heads = {"num_key_value_heads": 2}
    ids = {f"{word}_token_id": i for i, word in enumerate(("pad", "cls", "sep", "bos", "eos"))}
    return {
        "roberta": (library.RobertaConfig(**SIZES, **text), 3),
        "distilbert": (
            library.DistilBertConfig(vocab_size=80, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
            2,
        ),
        # Relative positions are learned, and handed to every layer beside the features.
        "mpnet": (library.MPNetConfig(**SIZES, **text), 3),
        # Rotary positions, a causal mask, a cache that must not outlive a pass.
        "llama": (library.LlamaConfig(**SIZES, **text, **few_heads), 3),
        "dinov2": (library.Dinov2Config(**SIZES, **image), 3),
        "segformer": (
            library.SegformerConfig(
                num_channels=1, num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1],
                hidden_sizes=[4, 8], patch_sizes=[3, 3], strides=[2, 2],
                num_attention_heads=[1, 2], mlp_ratios=[2, 2],
            ),
            2,
        ),
        # One layer used three times; layers that see parts of the text and all of it in turn.
        "albert": (library.AlbertConfig(**SIZES, **text, embedding_size=8), 1),
        "modernbert": (
            library.ModernBertConfig(**SIZES, **text, **ids, global_attn_every_n_layers=2),
            1,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(families()))
def test_other_families_are_read_by_what_they_do(name: str) -> None:
    from transformers import AutoModel

    config, stages = families()[name]
    model = moved(AutoModel.from_config(config))
    encoder = as_stages(model)
    assert len(encoder.stages) == stages
    batch = sentences(5)
    if model.main_input_name == "pixel_values":
        batch = {"pixel_values": images(5)["image"]}
    for _ in range(2):
        assert encoder(batch).equal(last_hidden_state(model, batch))
    net = HardSharing(model, TASKS).train()
    (net(batch)["a"].sum() + net(batch)["b"].sum()).backward()
    assert all(p.grad is not None for p in net.parameters()), "a parameter that nothing uses"


def test_a_model_of_an_unknown_input_is_one_stage() -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    audio = {"conv_dim": [8, 8], "conv_stride": [4, 2], "conv_kernel": [4, 2]}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(
        **SIZES, **audio, **positions, num_feat_extract_layers=2, num_hidden_layers=1
    )
    model, sound = moved(Wav2Vec2Model(config)), torch.randn(2, 400)
    encoder = as_stages(model)
    assert isinstance(encoder, Staged)
    assert len(encoder.stages) == 1
    assert encoder(sound).equal(model(sound).last_hidden_state)
    with pytest.raises(UserError, match="example="):
        HardSharing(model, TASKS)
    assert HardSharing(model, TASKS, example=sound)(sound)["b"].shape == (2, 3)


def test_a_part_of_a_model_is_a_module_like_any_other() -> None:
    from transformers.models.vit.modeling_vit import ViTMLP

    part = ViTMLP(vit().config)
    assert as_stages(part)(torch.ones(3, 16)).equal(part(torch.ones(3, 16)))


def test_copies_are_drawn_as_the_model_is() -> None:
    """Independent networks: every weight is new, at the scale of the model's own rule."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    model = vit(**sizes, initializer_range=0.3)
    net = SingleTask(model, TASKS)
    assert net.copied == ()
    one, other = (dict(net.encoders[task].named_parameters()) for task in "ab")
    given = dict(as_stages(model).named_parameters())
    for name, value in given.items():
        constant = value.unique().numel() == 1  # a bias, or the weight of a norm
        assert constant == one[name].equal(other[name]) == one[name].equal(value), name
        # A class token and positions held as bare parameters too; truncated at two deviations.
        assert constant or 0.7 < one[name].std() / 0.3 < 1.2, name


def test_weights_from_a_file_are_drawn_anew_too(tmp_path: Any) -> None:
    """transformers marks loaded weights, and would leave them alone."""
    from transformers import AutoModel

    bert().save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    assert any(getattr(p, "_is_hf_initialized", False) for p in model.parameters())
    for module in (as_stages(copy.deepcopy(model)), as_stages(model), model):
        before = {name: value.clone() for name, value in module.named_parameters()}
        assert reinitialise(module) == ()
        same = [n for n, p in module.named_parameters() if p.equal(before[n]) and p.std() > 0]
        assert not same
        word = next(p for n, p in module.named_parameters() if n.endswith("word_embeddings.weight"))
        assert word[0].eq(0).all(), "the row of padding"
        assert 0.015 < word[1:].std() < 0.025


def test_pretrained_copies_start_from_the_weights_given() -> None:
    model = moved(bert())
    net = SingleTask(model, TASKS, fresh=False).eval()
    z = last_hidden_state(model, sentences(3))
    for task in "ab":
        assert net.encoders[task](sentences(3)).equal(z)


def test_frozen_layers_stay_frozen() -> None:
    model = bert()
    model.encoder.layer[0].requires_grad_(False)
    net = HardSharing(model, TASKS)
    frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
    assert frozen
    assert all(name.startswith("encoder.stages.0.") for name in frozen)
    net(sentences(4))["a"].sum().backward()
    assert all(p.grad is None for p in model.encoder.layer[0].parameters())


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        if checkpointing:
            model.activation_checkpointing_enable()
        net = HardSharing(model, TASKS).train()
        net(sentences(4))["b"].sum().backward()
        found.append([p.grad for p in model.encoder.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_saved_pickled_and_copied_models_answer_the_same() -> None:
    net = HardSharing(moved(vit()), TASKS).eval()
    batch = images(3)
    expected = net(batch)["b"]
    assert pickle.loads(pickle.dumps(net))(batch)["b"].equal(expected)
    other = HardSharing(moved(vit(), seed=1), TASKS).eval()
    other.load_state_dict(net.state_dict())
    assert other(batch)["b"].equal(expected)


@pytest.mark.parametrize("architecture", ["hard_sharing", "mmoe"])
def test_a_vision_transformer_learns_digits(architecture: str) -> None:
    torch.manual_seed(0)
    x, targets = digits()
    tasks = [Task("digit", "multiclass", classes=range(10)), Task("even", "binary")]
    chosen = {task.name: targets[task.name] for task in tasks}
    net = create_architecture(architecture, vit(hidden_size=32), tasks)
    history = Trainer(net, tasks, epochs=6, lr=3e-3, progress=False).fit((x, chosen))
    for task in tasks:
        losses = history.series(f"train/{task.name}/loss")
        assert losses[-1] < 0.6 * losses[0], (task.name, losses)


@pytest.mark.parametrize("name", ["vit", "bert"])
def test_a_compiled_model_needs_no_break(name: str) -> None:
    torch.manual_seed(0)
    net, batch = HardSharing(MODELS[name](), TASKS).eval(), batch_of(name)
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch)["b"], net(batch)["b"])


def test_the_model_may_be_of_half_precision() -> None:
    model = bert().to(torch.bfloat16)
    outputs = HardSharing(model, TASKS)(sentences(3))
    assert {output.dtype for output in outputs.values()} == {torch.bfloat16}
