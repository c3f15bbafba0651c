"""Graph networks of torch-geometric (GCN, GIN, GraphSAGE, GAT, PNA, ...) by their layers.

    model = torch_geometric.nn.GIN(in_channels=11, hidden_channels=64, num_layers=4)
    create_architecture("hard_sharing", model, tasks)

Batches are torch-geometric's own (`Batch`, or one `Data`): `x`, `edge_index`, `batch`, and
`edge_weight` or `edge_attr` for layers that take them. Rows are nodes; every convolution with its
normalisation, activation and dropout is a stage, and the exit is the mean over the nodes of each
graph, [graphs, C]. The model is one stage where its answer reads all layers (jumping knowledge
other than `last`) and where its layers share an activation that learns.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from polytask.architectures._layout import Context, pooled
from polytask.architectures.stages import Staged
from polytask.errors import UserError


class GraphNetwork(Staged):
    """A graph network as a chain of stages, with the very same parameters."""


def stages_of(model: nn.Module) -> GraphNetwork | None:
    """The layers of a model of the `BasicGNN` family; None for any other module."""
    from torch_geometric.nn.models.basic_gnn import BasicGNN

    if not isinstance(model, BasicGNN):
        return None
    learns = isinstance(model.act, nn.Module) and any(True for _ in model.act.parameters())
    if hasattr(model, "jk") or learns:
        stages: list[nn.Module] = [_All(model)]
        widths, last = [model.out_channels], None
    else:
        stages = [_Layer(model, i) for i in range(len(model.convs))]
        last = getattr(model, "lin", None)
        widths = [model.hidden_channels] * len(stages)
        widths[-1] = model.hidden_channels if last is not None else model.out_channels
    reads = model.in_channels
    network = GraphNetwork(
        stages,
        _Nodes(),
        _Mean(last),
        channel_dim=-1,
        widths=widths,
        entrance_width=reads if isinstance(reads, int) and reads > 0 else None,
        takes_dict=True,
    )
    network.output_size = model.out_channels
    return network


class _Nodes(nn.Module):
    """The nodes of a batch of graphs, [M, C], and what connects them."""

    def forward(self, batch: Any) -> tuple[Tensor, Context]:
        x, edges = getattr(batch, "x", None), getattr(batch, "edge_index", None)
        if not isinstance(x, Tensor) or not isinstance(edges, Tensor):
            found = sorted(batch.keys()) if callable(getattr(batch, "keys", None)) else []
            raise UserError(
                "expected a batch of graphs of torch-geometric with x [nodes, features] and "
                f"edge_index [2, edges], found a {type(batch).__name__} with {found or 'neither'}. "
                "Use torch_geometric.data.Batch.from_data_list, and give every graph both."
            )
        segments = getattr(batch, "batch", None)
        if segments is None:
            segments, items = edges.new_zeros(len(x)), 1
        else:
            items = int(batch.num_graphs)
        if len(x) <= items and len(segments.unique()) < items:
            # Not only senseless: means of as many graphs as nodes would be taken for nodes.
            raise UserError(
                f"a batch of {items} graphs has {len(x)} nodes, and a graph without any; expected "
                "one node at least in each. Drop empty graphs."
            )
        edge_values = {name: getattr(batch, name, None) for name in ("edge_weight", "edge_attr")}
        return x, {"segments": segments, "items": items, "edge_index": edges, **edge_values}


class _Layer(nn.Module):
    """One convolution with what follows it in the model's `forward`."""

    takes_context = True

    def __init__(self, model: Any, number: int) -> None:
        super().__init__()
        self.conv = model.convs[number]
        # The last convolution of a model without jumping knowledge answers as it is.
        self.plain = number == len(model.convs) - 1 and model.jk_mode is None
        self.norm = model.norms[number]
        self.act, self.act_first = model.act, model.act_first
        self.norm_reads_graphs = model.supports_norm_batch
        self.dropout = model.dropout
        self.edges = edge_names(model)

    def forward(self, h: Tensor, context: Context) -> Tensor:
        edges = {name: context[name] for name in self.edges}
        h = self.conv(h, context["edge_index"], **edges)
        if self.plain:
            return h
        if self.act is not None and self.act_first:
            h = self.act(h)
        h = self.norm(h, *graphs(context)) if self.norm_reads_graphs else self.norm(h)
        if self.act is not None and not self.act_first:
            h = self.act(h)
        after: Tensor = self.dropout(h)
        return after


class _All(nn.Module):
    """A model that is one stage."""

    takes_context = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.edges = edge_names(model)

    def forward(self, h: Tensor, context: Context) -> Tensor:
        edges = {name: context[name] for name in self.edges}
        segments, items = graphs(context)
        after: Tensor = self.model(
            h, context["edge_index"], **edges, batch=segments, batch_size=items
        )
        return after


class _Mean(nn.Module):
    """The last linear layer, where the model has one, and the mean over the nodes of a graph."""

    takes_context = True

    def __init__(self, linear: nn.Module | None) -> None:
        super().__init__()
        self.linear = nn.Identity() if linear is None else linear

    def forward(self, h: Tensor, context: Context) -> Tensor:
        return pooled(self.linear(h), -1, context)


def graphs(context: Context) -> tuple[Tensor, int]:
    """The graph of every node, and how many graphs there are."""
    return context["segments"], context["items"]


def edge_names(model: Any) -> tuple[str, ...]:
    """Which values of edges the layers of a model take."""
    return tuple(n for n in ("edge_weight", "edge_attr") if getattr(model, f"supports_{n}"))
