"""Sums of more than two values, as a tree of Adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, substitute
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._parts import one_row, summed
from mari_onnx.rewrite.workspace import Workspace

DEEPEST = 3
"""How many sums are looked into, one inside the other."""


def _is_read_here(whole: str, at: Workspace) -> bool:
    """Whether a value has one reader, which may read what it is the repetition of instead."""
    value = one_row(whole, at)
    return at.graph.is_private(value) and (value == whole or len(at.graph.consumers(whole)) <= 1)


def is_summand(value: str, at: Workspace) -> bool:
    """Whether a value is only there to be added to something."""
    return at.graph.is_private(value) and all(n.op == "Add" and not n.domain for n in at.graph.consumers(value))


def terms_of(node: Node, at: Workspace, depth: int = DEEPEST) -> Iterator[str]:
    """What an Add adds up, where nothing else reads the sums in between; for one candidate where that is enough."""
    for whole in node.inputs:
        value = one_row(whole, at)
        inner = at.graph.producer(value)
        if inner is None or inner.op != "Add" or inner.domain or not depth or not _is_read_here(whole, at):
            yield value
        else:
            yield from terms_of(inner, at, depth - 1)


def all_terms(node: Node, at: Workspace) -> list[str]:
    """Like :func:`terms_of`, of sums however deep inside each other."""
    terms, waiting = [], list(reversed(node.inputs))
    while waiting:
        whole = waiting.pop()
        value = one_row(whole, at)
        inner = at.graph.producer(value)
        if inner is None or inner.op not in ("Add", "Sum") or inner.domain or not _is_read_here(whole, at):
            terms.append(value)
        else:
            waiting += reversed(inner.inputs)
    return terms


def without(terms: Sequence[str], *taken: str) -> tuple[str, ...]:
    """Summands but for some, each taken away once: what is added twice is still there."""
    rest = list(terms)
    for value in taken:
        rest.remove(value)
    return tuple(rest)


def summed_product(node: Node, at: Workspace) -> tuple[Node, int] | None:
    """The Mul whose entries a reduction takes together along one axis, and that axis, counted from the end."""
    fact, scaled, axes = at.fact(node.inputs[0]), at.graph.producer(node.inputs[0]), at.axes(node)
    if fact.shape is None or fact.dtype not in PRECISE or not axes or len(axes) != 1:
        return None
    if scaled is None or scaled.domain or scaled.op != "Mul":
        return None
    return scaled, int(axes[0]) % len(fact.shape) - len(fact.shape)


def row_sums(value: str, at: Workspace) -> str:
    """The entries of each row added up, and the axis gone."""
    if at.opset < 13:
        return at.emit("ReduceSum", [value], axes=[-1], keepdims=0)
    return at.emit("ReduceSum", [value, at.weight(np.array([-1], np.int64))], keepdims=0)


def total_along(value: str, axis: int, at: Workspace) -> str:
    """The entries along an axis added up, which keeps one entry."""
    return reduced_along("ReduceSum", value, axis, at)


def reduced_along(op: str, value: str, axis: int, at: Workspace) -> str:
    """A reduction along an axis, which keeps one entry."""
    if at.opset < (13 if op == "ReduceSum" else 18):
        return at.emit(op, [value], axes=[axis], keepdims=1)
    return at.emit(op, [value, at.weight(np.array([axis], np.int64))], keepdims=1)


def added(largest: str, others: Sequence[str], at: Workspace) -> str:
    """A value with others added to it, the smallest of those first."""
    if not others:
        return largest
    smallest_first = sorted((one_row(v, at) for v in others), key=lambda v: _entries(v, at))
    return at.emit("Add", [largest, summed(smallest_first, at)])


def _entries(value: str, at: Workspace) -> int:
    return int(product(substitute(d, 512, 32) for d in at.fact(value).shape or ()))
