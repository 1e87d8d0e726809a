"""A product over sums of values, some of which are computed once or are repeated::

    MatMul( a - u, W )                    ->   Gemm( a, W, C = MatMul(u, -W) )
    MatMul( Concat(q, k, q-k, q*k), W )   ->   q (W1+W3) + k (W2-W3) + (q*k) W4

    (a + u) W = a W + u W

``a`` may be a repetition, along whatever axis but the last: an item that is set beside each of the user's tokens
is multiplied once. Rows of the weight are added up when the model is optimized.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._linear import Form, Pieces, combined, is_linear_layer, linear_form
from mari_onnx.patterns._parts import joined, one_row, summed
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


class LinearSplit(Rule[Form]):
    """Multiplies the terms of a sum instead of the sum."""

    name = "linear-split"
    algebra = "(a + u) W = a W + u W"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Form | Refusal | None:
        form = linear_form(node.inputs[0], at)
        if form is None or not form.changed:
            return None
        if not is_linear_layer(node, at):
            return Refusal("the other operand is not a plain weight matrix of floats")
        if not all(_has_known_width(v, at) for v in form.terms):
            return Refusal("the width of a term is not known")
        return form

    def rewrite(self, node: Node, found: Form, at: Workspace) -> Sequence[str]:
        bias = [node.inputs[2]] if node.has_input(2) else []
        early = [b for b in bias if _is_row(b, at)]
        fixed = [at.emit("MatMul", _operands(node, group, at)) for group in _groups(found, True, at)]
        fixed = [summed([one_row(v, at) for v in (*fixed, *early)], at)] if fixed or early else []
        rest = [_operands(node, group, at) for group in _groups(found, False, at)]
        if len(rest) == 1 and fixed and _is_flat(rest[0], found, at):
            total = at.emit("Gemm", [*rest[0], one_row(fixed[0], at)])
        else:
            products = [at.emit("MatMul", operands) for operands in rest]
            total = summed([*products, *(one_row(v, at) for v in fixed)], at)
        return [summed([_in_shape(node, total, found, at), *(b for b in bias if b not in early)], at)]


def _has_known_width(value: str, at: Workspace) -> bool:
    shape = at.fact(value).shape
    return bool(shape and isinstance(shape[-1], int))


Group = list[tuple[str, Pieces]]


def _groups(form: Form, once: bool, at: Workspace) -> list[Group]:
    """The terms that are computed once, or the others; those of one shape go together."""
    groups: dict[str, Group] = {}
    for value, pieces in form.terms.items():
        if at.is_once(value) == once:
            groups.setdefault(str((at.fact(value).shape or ())[:-1]), []).append((value, pieces))
    return list(groups.values())


def _operands(node: Node, group: Group, at: Workspace) -> list[str]:
    """Operands of the product that makes all terms of a group."""
    shapes = [at.fact(v).shape or () for v, _ in group]
    weight = combined(node, [(pieces, shape[-1]) for (_, pieces), shape in zip(group, shapes, strict=True)], at)
    return [joined([v for v, _ in group], len(shapes[0]) - 1, at), weight]


def _is_row(bias: str, at: Workspace) -> bool:
    """Whether a bias is one row for all."""
    shape = at.fact(one_row(bias, at)).shape
    return at.is_once(bias) and shape is not None and all(same(d, 1) for d in shape[:-1])


def _is_flat(operands: Sequence[str], form: Form, at: Workspace) -> bool:
    """Whether a product has two axes, and all rows of the result."""
    shape = at.fact(operands[0]).shape or ()
    return len(form.shape) == 2 == len(shape) and same(shape[0], form.shape[0])


def _in_shape(node: Node, total: str, form: Form, at: Workspace) -> str:
    """The sum with all repetitions, and with its leading axes merged where they were."""
    after = at.fact(node.output).shape or ()
    shape, own = (*form.shape[:-1], after[-1]), at.fact(total).shape or ()
    if not alike(own, shape):
        total = at.emit("Expand", [total, at.sizes.known(shape)])
    return at.reshape(total, after)
