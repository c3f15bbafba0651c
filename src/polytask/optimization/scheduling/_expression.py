"""A small language for numbers that depend on the epoch: arithmetic, and nothing else.

Read with Python's own parser, and then only what is listed here is computed: no names but those
given, no attributes, no calls but of the functions listed.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from polytask.errors import UserError, unknown

BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "floor": math.floor,
}
LONGEST = 500


class Expression:
    """A formula such as `min(1, epoch / 5) * size ** 0.5`.

    Numbers, the given names, + - * / // % **, comparisons (1 where they hold, else 0), brackets,
    `a if b else c`, and the functions min, max, abs, exp, log, sqrt and floor.

    Raises `UserError` for anything else, when it is built.

    >>> Expression("size if epoch > 2 else 0", ("epoch", "size"))(epoch=3, size=10)
    10.0
    """

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        self.text = text
        self.names = names
        if len(text) > LONGEST:
            raise UserError(f"a formula may have {LONGEST} letters, found {len(text)}.")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(
                f"the formula {text!r} cannot be read ({error}). Write arithmetic, as in "
                "'min(1, epoch / 5)'."
            ) from error
        self._check(self._tree)

    def __call__(self, **values: float) -> float:
        """The number for these values. Raises `UserError` when there is none (1 / 0, say)."""
        try:
            found = self._compute(self._tree, values)
            return float(found)
        except (ArithmeticError, ValueError, TypeError) as error:
            given = ", ".join(f"{name}={value:g}" for name, value in values.items())
            raise UserError(
                f"the formula {self.text!r} has no value for {given}: {error}. Guard it, as in "
                "'max(1, epoch - 3)'."
            ) from error

    def _check(self, node: ast.expr) -> None:
        """Raise `UserError` unless the formula is made of what is listed above."""
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                raise unknown(f"name in the formula {self.text!r}:", node.id, self.names)
            return
        for child in self._parts(node):
            self._check(child)

    def _parts(self, node: ast.expr) -> list[ast.expr]:
        """What a piece of the formula is computed from."""
        if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            return [node.left, node.right]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return [node.operand]
        if isinstance(node, ast.IfExp):
            return [node.test, node.body, node.orelse]
        if isinstance(node, ast.Compare) and all(type(op) in COMPARISONS for op in node.ops):
            return [node.left, *node.comparators]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            if node.func.id not in FUNCTIONS:
                raise unknown(f"function in the formula {self.text!r}:", node.func.id, FUNCTIONS)
            return list(node.args)
        raise UserError(
            f"the formula {self.text!r} holds {ast.unparse(node)!r}; expected numbers, "
            f"{', '.join(self.names)}, arithmetic, comparisons and {', '.join(FUNCTIONS)}."
        )

    def _compute(self, node: ast.expr, values: Mapping[str, float]) -> float:
        # Everything is a float, so that 9 ** 9 ** 9 overflows at once and fills no memory.
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int | float)
            return float(node.value)
        if isinstance(node, ast.Name):
            return float(values[node.id])
        if isinstance(node, ast.IfExp):
            return self._compute(
                node.body if self._compute(node.test, values) else node.orelse, values
            )
        parts = [self._compute(part, values) for part in self._parts(node)]
        if isinstance(node, ast.BinOp):
            return BINARY[type(node.op)](*parts)
        if isinstance(node, ast.UnaryOp):
            return -parts[0] if isinstance(node.op, ast.USub) else parts[0]
        if isinstance(node, ast.Compare):
            pairs = zip(node.ops, parts, parts[1:], strict=False)
            return float(all(COMPARISONS[type(op)](a, b) for op, a, b in pairs))
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        return FUNCTIONS[node.func.id](*parts)
