"""Equations of Einsum that can be taken apart letter by letter."""

from __future__ import annotations

from mari_onnx.ir import Node


def plain_terms(node: Node) -> tuple[list[str], str] | None:
    """The letters of each operand and of the result, where they are spelled out and no operand has one twice."""
    left, arrow, result = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "." in left or len(terms) != len(node.inputs) or any(len(set(t)) < len(t) for t in terms):
        return None
    return terms, result
