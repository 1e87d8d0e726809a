"""The axes that operators name, in the order that counts."""

from __future__ import annotations

from mari_onnx.ir.graph import Node

SOFTMAX = ("Softmax", "LogSoftmax", "Hardmax")
"""Until opset 13 they went along all axes from the one that they name on."""


def order_of(node: Node, rank: int) -> tuple[int, ...]:
    """The axes of a Transpose's operand as they follow each other in its result; reversed where none are named.

    Args:
        node: The Transpose.
        rank: That of its operand.
    """
    return tuple(int(axis) for axis in node.attrs.get("perm", range(rank - 1, -1, -1)))


def axis_of(node: Node, rank: int, opset: int) -> int:
    """The axis that a Softmax or a normalisation names, from the front.

    Args:
        node: The operator.
        rank: That of its first operand.
        opset: That of the graph.
    """
    return int(node.attrs.get("axis", 1 if node.op in SOFTMAX and opset < 13 else -1)) % rank
