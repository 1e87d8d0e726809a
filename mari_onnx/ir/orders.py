"""The order in which a Transpose puts axes."""

from __future__ import annotations

from mari_onnx.ir.graph import Node


def order_of(node: Node, rank: int) -> tuple[int, ...]:
    """The axes of a Transpose's operand as they follow each other in its result; reversed where none are named.

    Args:
        node: The Transpose.
        rank: That of its operand.
    """
    return tuple(int(axis) for axis in node.attrs.get("perm", range(rank - 1, -1, -1)))
