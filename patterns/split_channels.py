"""A convolution over channels, some of them the user's::

    Conv( Concat(u, i; axis 1), W, b )   ->   Conv(u, W_u, b) + Conv(i, W_i)

    conv([u, i]_c, W) = conv(u, W_u) + conv(i, W_i)

A history with the item set beside each step, read by windows; the user's half runs once. Zeros that are padded are
zeros in both halves. Channels in groups are not mixed, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row, weight_rows
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class SplitChannels(Rule[Parts]):
    """Splits a convolution into one over the user's channels and one over the item's."""

    name = "split-channels"
    algebra = "conv([u, i]_c, W) = conv(u, W_u) + conv(i, W_i)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts, axis = mixed_parts(node.inputs[0], at), at.fact(node.output).axis
        if parts is None or parts.axis != 1 or axis is None or axis.index != 0:
            return None
        if int(node.attrs.get("group", 1)) != 1 or not at.is_weight(node.inputs[1]):
            return None
        return parts if not node.has_input(2) or at.is_once(node.inputs[2]) else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        user = _half(node, found, True, node.inputs[2:], at)
        return [at.emit("Add", [_half(node, found, False, [], at), one_row(user, at)])]


def _half(node: Node, parts: Parts, once: bool, bias: Sequence[str], at: Workspace) -> str:
    """The convolution over the channels that are computed once, or over the others."""
    chosen = [(value, start, size) for value, start, size in parts if size and at.is_once(value) == once]
    kernel = weight_rows(node.inputs[1], 1, [(start, size) for _, start, size in chosen], at)
    return at.emit("Conv", [joined([v for v, _, _ in chosen], 1, at), kernel, *bias], **dict(node.attrs))
