"""A convolution with one window along an axis on which user and item are joined, as channels are, is a sum over both::

    Conv( Concat(u, i; axis a), W )   ->   Conv(u, W_u) + Conv(i, W_i)

    conv([u, i], W) = conv(u, W_u) + conv(i, W_i)

A filter as long as the sequence, and what slides over a border once; channels of a convolution that has no groups.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row, weight_rows
from mari_onnx.patterns._windows import window_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class SplitKernel(Rule[Parts]):
    """Splits a convolution into one over the user's entries and one over the item's."""

    name = "split-kernel"
    algebra = "conv([u, i], W) = conv(u, W_u) + conv(i, W_i)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts, candidates = mixed_parts(node.inputs[0], at), at.fact(node.output).axis
        if parts is None or parts.axis < 1 or candidates is None or candidates.index != 0:
            return None
        if parts.axis == 1:
            return parts if int(node.attrs.get("group", 1)) == 1 and at.is_weight(node.inputs[1]) else None
        window = window_of(node, parts, at)
        if window is None or window.kernel != window.size or window.reach != window.size:
            return None
        return parts if not window.before and not window.behind else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        user = _half(node, found, True, node.inputs[2:], at)
        return [at.emit("Add", [_half(node, found, False, [], at), one_row(user, at)])]


def _half(node: Node, parts: Parts, once: bool, bias: Sequence[str], at: Workspace) -> str:
    """The convolution over the parts that are computed once, or over the others."""
    chosen = [(value, start, size) for value, start, size in parts if size and at.is_once(value) == once]
    kernel = weight_rows(node.inputs[1], parts.axis, [(start, size) for _, start, size in chosen], at)
    shape = at.fact(kernel).shape
    assert shape is not None
    value = joined([value for value, _, _ in chosen], parts.axis, at)
    return at.emit("Conv", [value, kernel, *bias], **{**node.attrs, "kernel_shape": list(shape[2:])})
