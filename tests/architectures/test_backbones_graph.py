from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from backbone_cases import geometric, gin, graphs
from real_inputs import Output, digits
from torch import Tensor, nn

from polytask import Task, Trainer
from polytask.architectures import HardSharing, SingleTask, as_stages, create_architecture
from polytask.architectures.stages import entrance_width, stage_shapes, stage_widths
from polytask.errors import UserError

TASKS = [Output("a", 1), Output("b", 3)]


def made(name: str, **options: Any) -> nn.Module:
    """A network in eval mode whose norms are not as they start."""
    torch.manual_seed(0)
    sizes = {"in_channels": 3, "hidden_channels": 8, "num_layers": 3}
    model = getattr(geometric().nn, name)(**sizes | options)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def mean_by_graph(nodes: Tensor, batch: Any) -> Tensor:
    rows = [nodes[batch.batch == graph].mean(0) for graph in range(batch.num_graphs)]
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("name", "options", "stages", "widths"),
    [
        ("GCN", {}, 3, (8, 8, 8)),
        ("GCN", {"out_channels": 5, "norm": "batch_norm"}, 3, (8, 8, 5)),
        ("GraphSAGE", {"act": "elu", "act_first": True, "norm": "layer_norm"}, 3, (8, 8, 8)),
        ("GIN", {"jk": "last", "out_channels": 4, "norm": "graph_norm"}, 3, (8, 8, 8)),
        ("GAT", {"act": None, "norm": "instance_norm", "num_layers": 1}, 1, (8,)),
        ("GIN", {"jk": "cat", "out_channels": 4}, 1, (4,)),
        ("GCN", {"act": "prelu"}, 1, (8,)),
    ],
)
def test_the_answer_is_the_mean_of_what_the_model_gives(
    name: str, options: dict[str, Any], stages: int, widths: tuple[int, ...]
) -> None:
    model, batch = made(name, **options), graphs(6)
    encoder = as_stages(model)
    nodes = model(batch.x, batch.edge_index, batch=batch.batch, batch_size=batch.num_graphs)
    torch.testing.assert_close(encoder(batch), mean_by_graph(nodes, batch))
    assert len(encoder.stages) == stages
    assert stage_widths(encoder) == stage_widths(encoder, batch) == widths
    assert entrance_width(encoder) == 3
    assert stage_shapes(encoder, batch)[-1] == (6, encoder.output_size)
    assert {id(p) for p in encoder.parameters()} == {id(p) for p in model.parameters()}


def test_values_of_edges_reach_layers_that_take_them() -> None:
    batch = graphs(4)
    torch.manual_seed(1)
    batch.edge_weight = torch.rand(batch.edge_index.shape[1])
    model = made("GCN")
    nodes = model(batch.x, batch.edge_index, edge_weight=batch.edge_weight)
    weighted = as_stages(model)(batch)
    torch.testing.assert_close(weighted, mean_by_graph(nodes, batch))
    assert not torch.allclose(weighted, as_stages(model)(graphs(4)))
    batch.edge_attr = torch.rand(batch.edge_index.shape[1], 2)
    model = made("GAT", edge_dim=2)
    nodes = model(batch.x, batch.edge_index, edge_attr=batch.edge_attr)
    torch.testing.assert_close(as_stages(model)(batch), mean_by_graph(nodes, batch))


def test_one_graph_alone_is_a_batch_of_one() -> None:
    model, batch = made("GIN"), graphs(3)
    net = HardSharing(model, TASKS).eval()
    torch.testing.assert_close(net(batch[1])["b"], net(batch)["b"][1:2])


def test_graphs_do_not_see_each_other() -> None:
    net = HardSharing(made("GCN"), TASKS).eval()
    torch.testing.assert_close(net(graphs(2, start=3))["b"], net(graphs(6))["b"][3:5])


def test_heads_on_the_way_pool_by_graph() -> None:
    model, batch = made("GCN"), graphs(5)
    net = create_architecture("multi_depth", model, TASKS, depths={"a": 1, "b": 3}).eval()
    first = model.act(model.convs[0](batch.x, batch.edge_index))
    expected = net.heads["a"].layers(mean_by_graph(first, batch))
    torch.testing.assert_close(net(batch)["a"], expected)


def test_copies_are_drawn_anew() -> None:
    model = made("GIN", norm="batch_norm")
    net = SingleTask(model, TASKS)
    assert net.copied == ()
    one, other = net.encoders["a"], net.encoders["b"]
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        assert p.unique().numel() == 1 or not p.equal(q), name


def test_what_is_no_batch_of_graphs_is_refused() -> None:
    net, data = HardSharing(gin(), TASKS), geometric().data
    with pytest.raises(UserError, match="found a Tensor with neither"):
        net(torch.ones(4, 3))
    with pytest.raises(UserError, match=r"found a Data with \['x'\]"):
        net(data.Data(x=torch.ones(4, 3)))
    node, edges = torch.ones(1, 3), torch.zeros(2, 0, dtype=torch.int64)
    single = data.Data(x=node, edge_index=edges)
    two = data.Data(x=node.expand(2, 3), edge_index=edges)
    empty = data.Data(x=node[:0], edge_index=edges, num_nodes=0)
    assert net(data.Batch.from_data_list([single, single]))["a"].shape == (2, 1)
    with pytest.raises(UserError, match="2 graphs has 2 nodes, and a graph without any"):
        net(data.Batch.from_data_list([two, empty]))


def test_another_module_of_the_library_is_one_stage() -> None:
    layer = geometric().nn.Linear(3, 4)
    encoder = as_stages(layer)
    assert len(encoder.stages) == 1
    assert encoder(torch.ones(2, 3)).equal(layer(torch.ones(2, 3)))


def test_the_trainer_takes_batches_of_graphs() -> None:
    """Two tasks on digits as graphs, from torch-geometric's batches to scores."""
    torch.manual_seed(0)
    tasks = [Task("ink", "regression"), Task("even", "binary")]
    targets = {task.name: digits()[1][task.name] for task in tasks}

    def batches(first: int, last: int, size: int = 40) -> list[Any]:
        starts = range(first, last, size)
        return [
            (graphs(size, i), {name: y[i : i + size] for name, y in targets.items()})
            for i in starts
        ]

    train, rest = batches(0, 240), batches(240, 320)
    before = copy.deepcopy(train[0][0].x)
    model = gin(norm="graph_norm", hidden_channels=16)
    trainer = Trainer(HardSharing(model, tasks), tasks, epochs=12, lr=2e-2, progress=False)
    history = trainer.fit(train, rest)
    losses = history.series("train/ink/loss")
    assert losses[-1] < 0.5 * losses[0]
    scores = trainer.evaluate(rest)
    assert scores["test/ink/r2"] > 0.5
    assert scores["test/even/auroc"] > 0.8
    assert train[0][0].x.equal(before)
