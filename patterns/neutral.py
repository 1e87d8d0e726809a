"""A sum with zeros, a product with ones, a cast to the type that is there, a part without entries, a cut of nothing, a
choice that is made already::

    Mul( x, Expand(1) )   ->   x
    Add( x, 0 )           ->   x
    Cast( x )             ->   x
    Concat( x, [] )       ->   x
    Slice( x, 0, end )    ->   x
    Where( true, x, y )   ->   x

x * 1 = x, x + 0 = x, [x, []] = x, x[:] = x, x if true = x

PyTorch's exporter multiplies the rows of a bag with weights of one where none were given. (Of the two zeros, a sum with
0 makes one; ONNX Runtime drops such sums as well.) Libraries cut features by kind and side, and join what there is of
each: a kind that nobody has is a piece of size 0, of all sides. `x[:, -1]` begins with a Slice that keeps all where the
exporter's optimizer is off: entries one after the other, as many as there are, are all of them. JAX makes a variance of
no entries no number: how many there are is known in the graph, so nothing is left to choose.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._parts import joined
from mari_onnx.patterns._uniform import uniform
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

NEUTRAL = {"Mul": 1, "Div": 1, "Add": 0, "Sub": 0}
"""What changes nothing, as the second operand."""
EITHER = frozenset({"Mul", "Add"})
"""Or as the first."""


class Neutral(Rule[tuple[str, ...]]):
    """Drops an operand that changes nothing."""

    name = "neutral"
    algebra = "x * 1 = x, x + 0 = x, [x, []] = x, x[:] = x, x if true = x"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset(NEUTRAL) | {"Cast", "Concat", "Slice", "Where"}

    def match(self, node: Node, at: Workspace) -> tuple[str, ...] | None:
        """What is left: one value, or several of a Concat."""
        if node.op == "Cast":
            return node.inputs if at.fact(node.inputs[0]).dtype == at.fact(node.output).dtype else None
        if node.op == "Slice":
            return node.inputs[:1] if _keeps_all(node, at) else None
        if node.op == "Concat":
            kept = tuple(v for v in node.inputs if not _is_empty(v, int(node.attrs["axis"]), at))
            return kept if 0 < len(kept) < len(node.inputs) else None
        shape = at.fact(node.output).shape
        if node.op == "Where":
            condition = uniform(node.inputs[0], at)
            if condition is None:
                return None
            chosen = node.inputs[1 if condition else 2]
            return (chosen,) if alike(at.fact(chosen).shape, shape) else None
        pairs = [(node.inputs[0], node.inputs[1])]
        if node.op in EITHER:
            pairs.append((node.inputs[1], node.inputs[0]))
        for other, dropped in pairs:
            if alike(at.fact(other).shape, shape) and uniform(dropped, at) == NEUTRAL[node.op]:
                return (other,)
        return None

    def rewrite(self, node: Node, found: tuple[str, ...], at: Workspace) -> Sequence[str]:
        return [joined(found, int(node.attrs["axis"]), at) if node.op == "Concat" else found[0]]


def _keeps_all(node: Node, at: Workspace) -> bool:
    steps = at.integers(node.inputs[4]) if node.has_input(4) else ()
    return steps is not None and set(steps) <= {1} and alike(at.fact(node.inputs[0]).shape, at.fact(node.output).shape)


def _is_empty(value: str, axis: int, at: Workspace) -> bool:
    shape = at.fact(value).shape
    return shape is not None and isinstance(shape[axis], int) and shape[axis] == 0
