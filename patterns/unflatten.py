"""Layers run on rows that were laid end to end and are taken apart again::

    Reshape( f( Reshape(x: [B, T, k] -> [B*T, k]) ) -> [B, T, n] )   ->   f(x)

    f works on each row alone: unflatten(f(flatten(x))) = f(x)

``f`` is a tree of lookups, elementwise operators, joins of columns, products with a weight. Once the candidates have an
axis of their own again, the other rules see which tokens are the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.patterns._parts import turned
from mari_onnx.patterns.einsum_matmul import is_product
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

REPEATS = ("Expand", "Tile")
LEAVES = ("Reshape", *REPEATS)

MAX_NODES = 64
"""Larger trees are not looked through."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A tree of row-wise nodes.

    Attributes:
        lead: The axes that were merged into axis 0.
        nodes: The nodes of the tree from the leaves on, the flattening Reshapes among them.
        shape: What the last Reshape makes of it.
    """

    lead: Shape
    nodes: tuple[Node, ...]
    shape: Shape


class Unflatten(Rule[Rows]):
    """Runs row-wise layers on the tensor as it was before its axes were merged."""

    name = "unflatten"
    algebra = "unflatten(f(flatten(x))) = f(x)"
    exactness = Exactness.EXACT
    enabling = True
    ops = frozenset({"Reshape"})

    def match(self, node: Node, at: Workspace) -> Rows | None:
        before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
        if not before or not after or at.is_once(node.inputs[0]):
            return None
        for count in range(2, len(after) + 1):
            lead = after[:count]
            if same(product(lead), before[0]) and sum(not same(size, 1) for size in lead) > 1:
                nodes: dict[Node, None] = {}
                if _is_rows(node.inputs[0], after[:count], nodes, at) and _has_layer(nodes):
                    return Rows(after[:count], tuple(nodes), after)
        return None

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        apart: dict[str, str] = {}
        for member in found.nodes:
            apart[member.output] = _apart(member, found.lead, apart, at)
        return [at.reshape(apart[node.inputs[0]], found.shape)]


def _has_layer(nodes: dict[Node, None]) -> bool:
    return any(n.op not in LEAVES for n in nodes)


def _is_rows(value: str, lead: Shape, nodes: dict[Node, None], at: Workspace) -> bool:
    """Whether the value has rows of tensors whose leading axes were merged; collects the nodes that lead to it."""
    node = at.graph.producer(value)
    if node is None or node.domain or len(node.outputs) != 1 or len(nodes) >= MAX_NODES:
        return False
    if node in nodes:
        return True
    if node.op in REPEATS:
        # A user's rows, laid end to end before they were repeated.
        shape = at.fact(value).shape
        if not at.is_user(value) or not shape or not same(product(lead), shape[0]):
            return False
        nodes[node] = None
        return True
    if node.op == "Reshape":
        source, target = at.fact(node.inputs[0]).shape, at.fact(value).shape
        if source is None or not target or not same(product(lead), target[0]) or not _is_cut_as(source, lead):
            return False
        nodes[node] = None
        return True
    operands = OPERANDS.get(node.op)
    rows = operands(node, at) if operands is not None else None
    if not rows or not all(_is_rows(v, lead, nodes, at) for v in rows):
        return False
    nodes[node] = None
    return True


def _is_cut_as(source: Shape, lead: Shape) -> bool:
    """Whether a tensor has the merged axes in front; what follows may be part of the last one, as heads are."""
    for index, size in enumerate(lead):
        if index >= len(source):
            return False
        if not same(source[index], size):
            return index == len(lead) - 1 and quotient(source[index], size) is not None
    return True


def _apart(node: Node, lead: Shape, apart: dict[str, str], at: Workspace) -> str:
    """The node on the tensors as they were before the merge."""
    if node.op in LEAVES:
        tail = (at.fact(node.output).shape or ())[1:]
        return at.reshape(node.output if node.op in REPEATS else node.inputs[0], (*lead, *tail))
    inputs = [apart.get(v, v) for v in node.inputs]
    attrs = dict(node.attrs)
    if node.op == "Concat":
        rank = at.fact(node.output).rank or 1
        attrs["axis"] = int(attrs["axis"]) % rank + len(lead) - 1
    if node.op == "Gemm":
        return _product(inputs, bool(attrs.get("transB", 0)), at)
    if node.op == "Einsum":
        return at.emit("MatMul", inputs)
    return at.emit(node.op, inputs, **attrs)


def _product(inputs: Sequence[str], transposed: bool, at: Workspace) -> str:
    weight = inputs[1]
    total = at.emit("MatMul", [inputs[0], turned(weight, at) if transposed else weight])
    return at.emit("Add", [total, inputs[2]]) if len(inputs) > 2 and inputs[2] else total


Operands = Callable[[Node, Workspace], "list[str] | None"]
"""The inputs of a node that must have rows, ``None`` where the node does not work row by row."""


def _elementwise(node: Node, at: Workspace) -> list[str] | None:
    rank = at.fact(node.output).rank
    if rank is None:
        return None
    rows = []
    for value in node.inputs:
        shape = at.fact(value).shape if value else ()
        if shape is None:
            return None
        if len(shape) == rank and not same(shape[0], 1):
            rows.append(value)
    return rows


def _lookup(node: Node, at: Workspace) -> list[str] | None:
    return [node.inputs[1]] if at.is_weight(node.inputs[0]) and not node.attrs.get("axis", 0) else None


def _join(node: Node, at: Workspace) -> list[str] | None:
    rank = at.fact(node.output).rank
    return list(node.inputs) if rank and int(node.attrs["axis"]) % rank != 0 else None


def _matmul(node: Node, at: Workspace) -> list[str] | None:
    ranks = [at.fact(v).rank for v in node.inputs]
    return [node.inputs[0]] if ranks == [2, 2] and at.is_weight(node.inputs[1]) else None


def _gemm(node: Node, at: Workspace) -> list[str] | None:
    plain = node.attrs.get("alpha", 1.0) == 1.0 == node.attrs.get("beta", 1.0) and not node.attrs.get("transA", 0)
    if not plain or not at.is_weight(node.inputs[1]):
        return None
    if node.has_input(2):
        shape = at.fact(node.inputs[2]).shape
        if shape is None or (len(shape) == 2 and not same(shape[0], 1)):
            return None
    return [node.inputs[0]]


def _einsum(node: Node, at: Workspace) -> list[str] | None:
    ranks = [at.fact(v).rank for v in node.inputs]
    return [node.inputs[0]] if ranks == [2, 2] and is_product(node, at) else None


def _along_last(node: Node, at: Workspace) -> list[str] | None:
    rank = at.fact(node.output).rank or 0
    default = 1 if node.op.endswith("oftmax") and at.opset < 13 else -1
    # A positive axis would mean another one once there are more axes in front.
    last = int(node.attrs.get("axis", default)) == -1
    return [node.inputs[0]] if last and rank > 1 and (at.opset >= 13 or not node.op.endswith("oftmax")) else None


OPERANDS: dict[str, Operands] = {
    **dict.fromkeys(set(UNARY) - {"Identity"}, _elementwise),
    **dict.fromkeys(set(BROADCASTING) - {"PRelu"}, _elementwise),
    "Gather": _lookup,
    "Concat": _join,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    **dict.fromkeys(("Softmax", "LogSoftmax", "LayerNormalization"), _along_last),
}
