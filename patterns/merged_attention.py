"""Attention whose queries, and some of whose keys and values, are the user's::

    MatMul( Softmax([S_u, S_i]), [V_u; V_i] )   ->   (N_u c + E_i V_i) / (Z_u c + sum E_i)

    softmax([s, t]) [V; W] = (e^s V + e^t W) / (sum e^s + sum e^t)

``N_u = e^(S_u - m_u) V_u`` and ``Z_u = sum e^(S_u - m_u)`` are computed once per request, ``m_u`` being the largest
of each row; for each candidate ``E_i = e^(S_i - m)`` and ``c = e^(m_u - m)``, ``m`` being the largest of all. Partial
results are merged as an online softmax does it (Milakov and Gimelshein 2018, arXiv 1805.02867). So all that the
user's tokens find in each other runs once, though the items' tokens are attended to as well. In half precision ``N_u``
is divided by ``Z_u``, or by 1 where that is 0: where all is masked, what is left is neither.

Where a mask cuts the user's queries off from the items' keys, nothing needs to be merged::

    MatMul( Softmax([S_u, S_i]), [V_u; V_i] )   ->   MatMul( Softmax(S_u), V_u )          S_i = -inf
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.ir.orders import axis_of
from mari_onnx.patterns._entries import for_all_heads
from mari_onnx.patterns._finite import infinite_by_masks_alone
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._parts import joined, one_row
from mari_onnx.patterns._pieces import DIFFERENT, Pieces, PiecesOnce
from mari_onnx.patterns._segments import Segment, segments_along
from mari_onnx.patterns._sums import reduced_along
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

Runs = Sequence[tuple[int, int]]
"""Where neighbouring entries start, and how many there are."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What to take apart.

    Attributes:
        scores: What goes into the Softmax.
        rows: Queries.
        columns: Keys and values.
    """

    scores: str
    rows: tuple[Segment, ...]
    columns: tuple[Segment, ...]


class MergedAttention(Rule[Attention]):
    """Computes once what queries of the user find among the user's tokens."""

    name = "merged-attention"
    algebra = "softmax([s, t]) [V; W] = (e^s V + e^t W) / (sum e^s + sum e^t)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Attention | None:
        weights, values = node.inputs
        softmax, shape = at.graph.producer(weights), at.fact(weights).shape
        rank = at.fact(values).rank or 0
        if softmax is None or softmax.op != "Softmax" or softmax.domain or at.is_once(weights) or rank < 2:
            return None
        if shape is None or len(shape) < 3 or not isinstance(shape[-2], int) or at.fact(weights).dtype not in FLOATS:
            return None
        if axis_of(softmax, len(shape), at.opset) != len(shape) - 1:
            return None
        scores = softmax.inputs[0]
        columns = segments_along(values, rank - 2, at) or segments_along(scores, len(shape) - 1, at)
        if columns is None:
            return None
        rows = segments_along(scores, len(shape) - 2, at) or (Segment(0, shape[-2], True),)
        return Attention(scores, rows, columns)

    def rewrite(self, node: Node, found: Attention, at: Workspace) -> Sequence[str]:
        weights, values = node.inputs
        knowledge = Knowledge(at)
        once, cut_off = PiecesOnce(at, knowledge), _is_cut_off(weights, found, knowledge, at)
        rank, tokens = at.fact(weights).rank or 0, (at.fact(values).rank or 0) - 2
        queries = (rank - 2, _runs(found.rows, True))

        def side(pieces: Pieces, scores: str, is_once: bool) -> tuple[str, str]:
            """Scores for the user's queries, and values, of the tokens of one side."""
            runs = _runs(found.columns, is_once)
            return _block(pieces, scores, [queries, (rank - 1, runs)], at), _block(pieces, values, [(tokens, runs)], at)

        users = side(once, weights if cut_off else found.scores, True)
        if not all(map(at.is_once, users)):
            raise RuleError(DIFFERENT)
        if cut_off:
            made = [at.emit("MatMul", users)]
        else:
            made = [_merged(users, side(once.others(), found.scores, False), at)]
        others = _runs(found.rows, False)
        if others:
            made.append(at.emit("MatMul", [_block(once.others(), weights, [(rank - 2, others)], at), values]))
        axis = (at.fact(node.output).rank or 0) - 2
        return [_in_order(joined(made, axis, at), [*queries[1], *others], axis, at)]


def _runs(segments: Sequence[Segment], is_once: bool) -> Runs:
    return [segment.run for segment in segments if segment.once == is_once]


def _is_cut_off(weights: str, found: Attention, knowledge: Knowledge, at: Workspace) -> bool:
    """Whether a mask leaves the user's queries nothing of the items' keys and values."""
    zeros = knowledge.zeros(weights)
    if not zeros.any():
        return False
    axes = (found.rows, found.columns)
    by_row, by_column = (np.repeat([s.once for s in axis], [s.size for s in axis]) for axis in axes)
    known = np.broadcast_to(for_all_heads(zeros), (len(by_row), len(by_column)))
    return bool(known[np.ix_(by_row, ~by_column)].all()) and infinite_by_masks_alone(weights, at)


def _block(pieces: Pieces, value: str, boxes: Sequence[tuple[int, Runs]], at: Workspace) -> str:
    """The entries of a value in all runs of one axis, and of a second one if there is one."""
    (axis, runs), *others = boxes
    if not others:
        return joined([pieces.of(value, {axis: run}) for run in runs], axis, at)
    ((other, across),) = others
    cuts = [[pieces.of(value, {axis: run, other: piece}) for piece in across] for run in runs]
    return joined([joined(cut, other, at) for cut in cuts], axis, at)


def _in_order(value: str, runs: Runs, axis: int, at: Workspace) -> str:
    """Rows that lie run by run, each where it belongs."""
    places = np.concatenate([np.arange(start, start + size) for start, size in runs])
    if np.array_equal(places, np.arange(len(places))):
        return value
    return at.emit("Gather", [value, at.weight(np.argsort(places).astype(np.int64))], axis=axis)


def _merged(users: tuple[str, str], items: tuple[str, str], at: Workspace) -> str:
    """The result for queries of the user, from scores and values of the user's tokens and of the items'."""
    (user_scores, user_values), (item_scores, item_values) = users, items
    lowest = at.weight(_lowest(at.fact(user_scores).dtype))
    # Where all is masked with minus infinity, the largest must be a number: nothing less nothing is no number.
    highest = one_row(at.emit("Max", [_along_last("ReduceMax", user_scores, at), lowest]), at)
    powers = at.emit("Exp", [at.emit("Sub", [user_scores, highest])])
    total = one_row(_along_last("ReduceSum", powers, at), at)
    is_half = at.fact(user_scores).dtype == onnx.TensorProto.FLOAT16
    if is_half:
        # The sum over a long history leaves the range of half precision, a mean does not; nothing is at least 1.
        powers = at.emit("Div", [powers, at.emit("Max", [total, at.weight(np.array(1, np.float16))])])
    found_once = one_row(at.emit("MatMul", [powers, user_values]), at)

    both = at.emit("Max", [_along_last("ReduceMax", item_scores, at), highest])
    shares = at.emit("Exp", [at.emit("Sub", [item_scores, both])])
    scale = at.emit("Exp", [at.emit("Sub", [highest, both])])
    scaled_total = at.emit("Mul", [scale, total])
    whole = at.emit("Add", [scaled_total, _along_last("ReduceSum", shares, at)])
    mixed = at.emit("MatMul", [at.emit("Div", [shares, whole]), item_values])
    share = at.emit("Div", [scaled_total if is_half else scale, whole])
    return at.emit("Add", [mixed, at.emit("Mul", [share, found_once])])


def _lowest(dtype: int) -> np.ndarray:
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return np.array(np.finfo(kind).min, kind)


def _along_last(op: str, value: str, at: Workspace) -> str:
    """A reduction along the last axis, which stays; of one entry nothing needs to be done."""
    shape = at.fact(value).shape or ()
    return value if shape[-1] == 1 else reduced_along(op, value, -1, at)
