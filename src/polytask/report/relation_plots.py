"""The plots of a study of relationships: the tree of tasks, and the forests of its check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from polytask.report.names import columns, short
from polytask.report.plot_data import Forest, make_forest, one_scale
from polytask.report.plots import axes_box, few_ticks
from polytask.report.relation_results import ALONE, RANDOM, Relation
from polytask.report.relation_scale import Scale
from polytask.report.relation_tree import Tree
from polytask.report.results import Style, triple
from polytask.report.svg import colour, new_figure, settings, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TREE_WIDTH = 560
_ROW, _MARGIN = 22, 44  # height of a leaf, and of the axis below
_LEAF = 30  # columns of a name at a leaf
AGAINST = "points of Δm above the other →"
GAIN = "Δm, % better than alone →"
Paint = Callable[[str], str]


def tree_svg(tree: Tree, scale: Scale, letters: Sequence[str]) -> Markup:
    """The tree as it stands in a page."""
    with settings():
        figure = tree_figure(tree, scale, letters, colour)
        return to_svg(figure, "Tree of the tasks by mean affinity")


def tree_figure(tree: Tree, scale: Scale, letters: Sequence[str], paint: Paint) -> Figure:
    """Leaves from top to bottom, joins to their right: the further right, the less affinity.

    Call within `svg.settings()`. `letters` are the groups that serve the leaves.
    """
    height = _ROW * len(tree.leaves) + _MARGIN
    names = [short(leaf, _LEAF) for leaf in tree.leaves]
    gap = 32 if any(letters) else 10
    left = 12 + gap + 6.9 * max(map(columns, names))
    inner = TREE_WIDTH - left - 16
    figure = new_figure(TREE_WIDTH, height)
    axes = figure.add_axes(axes_box(TREE_WIDTH, height, left, 16, 4, _MARGIN - 4))
    joins = [join.affinity / 10.0**scale.power for join in tree.joins]
    best, worst = joins[0], joins[-1]
    air = 0.08 * (best - worst) or 0.1 * abs(best) or 1.0
    for join, end in zip(tree.joins, joins, strict=True):
        one, other = (best + air if x is None else x / 10.0**scale.power for x in join.starts)
        above, below = join.places
        axes.plot(
            [one, end, end, other], [above, above, below, below], color=paint("ink"), linewidth=1.4
        )
    beside: dict[str, Any] = {
        "va": "center", "ha": "right", "transform": axes.get_yaxis_transform()
    }  # fmt: skip
    for place, (name, group) in enumerate(zip(names, letters, strict=True)):
        axes.text(-gap / inner, place, name, fontsize=12, **beside)
        axes.text(
            -8 / inner, place, group, fontsize=11, fontweight="bold", color=paint("muted"), **beside
        )
    axes.set_xlim(best + air, worst - air)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    few_ticks(axes.xaxis, 6)
    unit = f", in {scale.unit}" if scale.power else ""
    axes.set_xlabel(f"mean affinity where branches join{unit} (less →)", fontsize=11)
    return figure


def check_forests(relation: Relation) -> list[Forest]:
    """Δm of every arrangement over training alone, and the recommendation against the others."""
    rows = [
        (entry.name, entry.style, entry.delta_m, entry.chosen)
        for entry in relation.arrangements
        if entry.id != ALONE
    ]
    versus = [
        (against(relation, str(c.get("theirs"))), look(relation, str(c.get("theirs"))),
         triple(c, ""), False)
        for c in relation.contrasts
    ]  # fmt: skip
    forests = [
        make_forest("Against training alone", rows, GAIN),
        make_forest("The recommendation against the others", versus, AGAINST),
    ]
    return one_scale([forest for forest in forests if forest.spans])


def against(relation: Relation, theirs: str) -> str:
    """What the other side of a contrast is called."""
    entry = relation.arrangement(theirs)
    if entry is not None:
        return entry.name
    count = sum(entry.id.startswith(RANDOM) for entry in relation.arrangements)
    named = {RANDOM: f"random (mean of {count})" if count > 1 else "random groups"}
    return named.get(theirs, theirs.replace("_", " "))


def look(relation: Relation, theirs: str) -> Style:
    """The style of the other side; the mean of the random groups looks as the first of them."""
    found = (entry.style for entry in relation.arrangements if entry.id.startswith(theirs))
    return next(found, Style())
