"""Small models of other libraries with random weights, and real batches that they read."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from real_inputs import digits
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.nn.functional import interpolate

SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def vit(**options: Any) -> nn.Module:
    from transformers import ViTConfig, ViTModel

    settings = {"image_size": 8, "patch_size": 4, "num_channels": 1, "num_hidden_layers": 2}
    return ViTModel(ViTConfig(**SIZES | settings | options))


def resnet(**options: Any) -> nn.Module:
    from transformers import ResNetConfig, ResNetModel

    settings = {"num_channels": 1, "embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 2]}
    return ResNetModel(ResNetConfig(**settings | {"layer_type": "basic"} | options))


def convnext(**options: Any) -> nn.Module:
    from transformers import ConvNextConfig, ConvNextModel

    settings = {"num_channels": 1, "hidden_sizes": [4, 8], "depths": [1, 2], "num_stages": 2}
    return ConvNextModel(ConvNextConfig(**settings | {"patch_size": 2} | options))


def bert(**options: Any) -> nn.Module:
    from transformers import BertConfig, BertModel

    settings = {"vocab_size": 80, "max_position_embeddings": 20, "num_hidden_layers": 2}
    return BertModel(BertConfig(**SIZES | settings | options))


def gin(**options: Any) -> nn.Module:
    settings = {"in_channels": 3, "hidden_channels": 8, "num_layers": 3, "norm": "layer_norm"}
    return geometric().nn.GIN(**settings | options)


def geometric() -> Any:
    """torch_geometric, whose import uses what the pinned torch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch_geometric
        import torch_geometric.nn

        return torch_geometric


def images(count: int) -> dict[str, Tensor]:
    return {"image": digits()[0]["image"][:count]}


def larger(count: int) -> dict[str, Tensor]:
    """Twice as high and wide, so that a network that halves both often still answers maps."""
    return {"image": interpolate(images(count)["image"], scale_factor=2)}


@cache
def _sentences() -> tuple[dict[str, Tensor], Tensor]:
    """Lines about the wine data: ids of the 78 commonest words, 1 for others, 0 for padding."""
    lines = [line.split()[:12] for line in load_wine().DESCR.splitlines() if line.strip()]
    words = [word for line in lines for word in line]
    known = sorted(set(words), key=lambda word: (-words.count(word), word))[:78]
    ids = torch.zeros(len(lines), 12, dtype=torch.int64)
    for row, line in enumerate(lines):
        ids[row, : len(line)] = torch.tensor(
            [known.index(w) + 2 if w in known else 1 for w in line]
        )
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    return inputs, torch.tensor([sum(map(len, line)) > 30 for line in lines]).float()[:, None]


def sentences(count: int) -> dict[str, Tensor]:
    return {name: value[:count] for name, value in _sentences()[0].items()}


def graphs(count: int, start: int = 0) -> Any:
    """Digits as graphs: a node for every pixel with ink, an edge between neighbours."""
    data = geometric().data
    found = []
    for image in digits()[0]["image"][start : start + count, 0]:
        places = image.nonzero()
        edges = (torch.cdist(places.float(), places.float(), p=1) == 1).nonzero().T
        x = torch.cat([image[tuple(places.T)][:, None], places / 8], dim=1)
        found.append(data.Data(x=x, edge_index=edges))
    return data.Batch.from_data_list(found)


CASES = {
    "resnet": (resnet, larger),
    "convnext": (convnext, larger),
    "vit": (vit, images),
    "bert": (bert, sentences),
    "gin": (gin, graphs),
}
