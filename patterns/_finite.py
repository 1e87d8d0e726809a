"""Which numbers may be multiplied with, or divided by, behind a sum instead of in front of it.

``sum_k (s x_k) w_k = s (sum_k x_k w_k)`` holds for finite ``s``, whatever is infinite or no number among the ``x``.
What is divided by 0 is infinite, with either sign: added up in front, that is no number, where behind the sum it is
infinite. A model that divides by the length of an empty history answers with no number; so must what is made of it.

Inputs are taken to be finite, nothing to leave the range of its type, and what is summed up over nothing to be 0: a
mean over an empty history is 0 / 0, no number wherever it is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._positive import LAID_OUT, is_not_below_zero, is_positive
from mari_onnx.patterns._variances import orders, square_of
from mari_onnx.rewrite.memory import make_room
from mari_onnx.rewrite.workspace import Workspace

NORMS = frozenset({"LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization"})
BOUNDED = frozenset({*NORMS, *"Sigmoid Tanh Softmax HardSigmoid Erf Softsign Sin Cos Hardmax GRU LSTM RNN".split()})
"""Operators that make nothing infinite, whatever they read."""
SUMS = frozenset({"ReduceSum", "MatMul", "Gemm", "Einsum"})
LARGEST = 1 << 22
"""Constants with more entries were learned and are taken to be finite; a table of embeddings is not read for this."""
LENGTHS = frozenset({"ReduceL1", "ReduceL2"})
"""Reductions that are 0 only where all that they reduce is."""


def moves_through_sum(op: str, number: str, at: Workspace, rows: str = "") -> bool:
    """Whether a ``Mul`` with a number or a ``Div`` by it may stand behind a sum of what it scales.

    Args:
        op: ``Mul`` or ``Div``.
        number: What is multiplied with or divided by.
        at: The graph.
        rows: What is scaled; where the number is the length of these rows, it is 0 only where they are, and 0 / 0 is no
            number on either side of a sum.
    """
    if op == "Mul":
        return never_infinite(number, at)
    return never_zero(number, at) or (bool(rows) and _is_length(number, rows, at))


def never_zero(value: str, at: Workspace) -> bool:
    """Whether no entry of a value is 0: it is above 0, or a fraction was added to it.

    Whole numbers and a fraction never make 0, and a measured number that is exactly the negative of a constant fraction
    stands for nothing.
    """
    if at.is_weight(value):
        array = at.constant(value)
        return array is not None and bool(array.all())
    if is_positive(value, at):
        return True
    node = at.graph.producer(value)
    if node is None or node.domain:
        return False
    if node.op in LAID_OUT or node.op in ("Neg", "Abs", "Sqrt"):
        return never_zero(node.inputs[0], at)
    if node.op == "Cast":
        return at.fact(node.inputs[0]).dtype not in FLOATS and never_zero(node.inputs[0], at)
    if node.op == "Mul":
        return all(never_zero(v, at) for v in node.inputs)
    if node.op in ("Add", "Sub"):
        return any(_is_fraction(v, at) for v in node.inputs)
    return False


def never_infinite(value: str, at: Workspace) -> bool:
    """Whether no entry of a value is infinite: nothing is divided by 0 on the way from the inputs to it."""
    return not _in_the_way(value, _sources, at)


def infinite_by_masks_alone(value: str, at: Workspace) -> bool:
    """Whether nothing but constants makes scores infinite, behind a Softmax of them or not.

    A row of scores that are minus infinity may be a mean of what its mask leaves out by a finite number.
    """
    return not _in_the_way(value, _sources_but_masks, at)


Sources = Callable[[str, Workspace], Sequence[str] | None]
"""The values that may make one infinite; ``None`` where it may be so whatever they are."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in the way of a value being finite, if anything, and the stamps of both when that was found."""

    reason: str
    stamps: tuple[int | None, ...]


def _reason_known(value: str, known: Mapping[str, _Found], at: Workspace) -> str | None:
    """What was found, where that still holds."""
    found = known.get(value)
    return None if found is None or at.graph.stamps((value, found.reason)) != found.stamps else found.reason


def _in_the_way(value: str, sources_of: Sources, at: Workspace) -> str:
    """What may be infinite of all that a value is made of; nothing where it never is.

    It is found once for each value, from what was found for those in front of it, as they stay what they are, whatever
    makes them by now. So a deep graph is not walked again for each of its layers.
    """
    known: dict[str, _Found] = at.kept.setdefault(sources_of, {})
    make_room(known, at.graph)
    waiting = [value]
    while waiting:
        name = waiting[-1]
        if _reason_known(name, known, at) is None:
            sources = sources_of(name, at)
            found = _first_of(sources, known, at) if sources is not None else name
            if found is None:
                waiting += [v for v in sources or () if _reason_known(v, known, at) is None]
                continue
            known[name] = _Found(found, at.graph.stamps((name, found)))
        waiting.pop()
    reason = known[value].reason
    at.graph.looked_at.update((value, reason) if reason else ())
    return reason


def _first_of(sources: Sequence[str], known: Mapping[str, _Found], at: Workspace) -> str | None:
    """What is in the way of the first value for which anything is; ``None`` where that has to be found out."""
    reasons = [_reason_known(v, known, at) for v in sources]
    return next(filter(None, reasons), None if None in reasons else "")


def _sources(value: str, at: Workspace) -> tuple[str, ...] | None:
    """The values that may make one infinite; ``None`` where it may be so whatever they are."""
    if not at.is_weight(value):
        return _made_of(value, BOUNDED, at)
    if at.graph.weights[value].size > LARGEST:
        return ()
    array = at.constant(value)
    return () if array is not None and not bool(np.isinf(array).any()) else None


def _sources_but_masks(value: str, at: Workspace) -> tuple[str, ...] | None:
    """As above, constants left out, and looking through a Softmax."""
    return () if at.is_weight(value) else _made_of(value, BOUNDED - {"Softmax"}, at)


def _made_of(value: str, bounded: Set[str], at: Workspace) -> tuple[str, ...] | None:
    node = at.graph.producer(value)
    if node is None or at.fact(value).dtype not in FLOATS:
        return ()
    if node.domain or node.captures:
        return None
    if node.op in bounded or _is_clipped(node, at):
        return ()
    check = CHECKS.get(node.op)
    return None if check is not None and not check(node, at) else tuple(v for v in node.inputs if v)


def _is_sum(value: str, at: Workspace) -> bool:
    node = at.graph.producer(value)
    while node is not None and not node.domain and node.op in LAID_OUT:
        node = at.graph.producer(node.inputs[0])
    return node is not None and not node.domain and node.op in SUMS


def _is_clipped(node: Node, at: Workspace) -> bool:
    """Whether a node leaves nothing above or below bounds that are numbers."""
    if node.op != "Clip":
        return False
    bounds = [at.constant(v) if v and at.is_weight(v) else None for v in node.inputs[1:]]
    return len(bounds) == 2 and all(b is not None and bool(np.isfinite(b).all()) for b in bounds)


def _is_finite_filling(node: Node, _at: Workspace) -> bool:
    given = node.attrs.get("value")
    return given is None or not bool(np.isinf(onnx.numpy_helper.to_array(given)).any())


CHECKS: dict[str, Callable[[Node, Workspace], bool]] = {
    "Div": lambda node, at: _is_sum(node.inputs[0], at) or moves_through_sum("Div", node.inputs[1], at, node.inputs[0]),
    "Reciprocal": lambda node, at: never_zero(node.inputs[0], at),
    "Log": lambda node, at: is_positive(node.inputs[0], at),
    "Pow": lambda node, at: is_not_below_zero(node.inputs[1], at) or is_positive(node.inputs[0], at),
    "ConstantOfShape": _is_finite_filling,
    **dict.fromkeys(("Atanh", "Tan", "ReduceLogSum"), lambda _node, _at: False),
}
"""What has to hold for an operator to make nothing infinite of finite numbers; other operators never do."""


def _is_fraction(value: str, at: Workspace) -> bool:
    array = at.constant(value) if at.is_weight(value) else None
    return array is not None and array.dtype.kind == "f" and bool((np.isfinite(array) & (array % 1 != 0)).all())


def _is_length(number: str, rows: str, at: Workspace) -> bool:
    """Whether a number is the length of rows, or the sum of rows with nothing below 0 (of one entry, too), or more."""
    if number == rows:
        return is_not_below_zero(rows, at)
    node = at.graph.producer(number)
    if node is not None and not node.domain and node.op == "Expand":
        node = at.graph.producer(node.inputs[0])
    if node is None or node.domain:
        return False
    if node.op == "Add":
        return any(_is_length(a, rows, at) and is_not_below_zero(b, at) for a, b in orders(node))
    if node.op == "Sqrt":
        node = at.graph.producer(node.inputs[0])
        summed = node is not None and node.kind == "ReduceSum" and square_of(node.inputs[0], at) == rows
        return node is not None and summed and _is_along_rows(node, at)
    if node.inputs[:1] != (rows,) or not _is_along_rows(node, at):
        return False
    return node.op in LENGTHS or (node.op == "ReduceSum" and is_not_below_zero(rows, at))


def _is_along_rows(node: Node, at: Workspace) -> bool:
    axes, shape = at.axes(node), at.fact(node.inputs[0]).shape
    if not axes or not shape or same(shape[-1], 0):
        return False
    return [int(a) % len(shape) for a in axes] == [len(shape) - 1]
