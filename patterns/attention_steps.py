"""Attention over tokens of user and item, in the steps that it is made of::

    Attention( q, k, v, mask )   ->   MatMul( Softmax( MatMul( q/sqrt(d), k^T ) + mask ), v )

    attention(q, k, v) = softmax(q k^T / sqrt(d) + mask) v

One operator does all of it, for all tokens of all candidates. In steps, other rules see what the user's tokens find in
each other, and project them once. Where none of them does, the operator stays: it is faster than its steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._attention import PROJECTED, READERS, Steps, is_square, lowest
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import cut
from mari_onnx.patterns._segments import segments_along
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


class AttentionSteps(Rule[Steps]):
    """Writes attention out."""

    name = "attention-steps"
    algebra = "attention(q, k, v) = softmax(q k^T / sqrt(d) + mask) v"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset(READERS)

    def match(self, node: Node, at: Workspace) -> Steps | Refusal | None:
        output = at.fact(node.output)
        if at.is_once(node.output) or output.dtype not in FLOATS or output.shape is None:
            return None
        rows = node.inputs[:1] if node.kind == PROJECTED else [v for v in node.inputs[:3] if v]
        if not any(at.is_once(v) or segments_along(v, (at.fact(v).rank or 0) - 2, at) for v in rows):
            return None
        found = READERS[node.kind](node, at)
        if isinstance(found, Steps) and found.causal and not is_square(found, at):
            return Refusal("how places of queries and keys compare is not known")
        return found

    def rewrite(self, node: Node, found: Steps, at: Workspace) -> Sequence[str]:
        shared = found.heads // found.sharing
        counts = (found.heads, shared, shared)
        query, key, value = (_heads(v, n, at) for v, n in zip(_projected(found, at), counts, strict=True))
        width = (at.fact(query).shape or ())[-1]
        scale = found.scale if found.scale is not None else 1.0 / math.sqrt(width)
        key = at.emit("Transpose", [key], perm=[0, 1, 3, 2])
        if at.is_once(key):
            key = _times(key, scale, at)
        else:
            query = _times(query, scale, at)
        query, key, value = (_in_groups(v, found, at) for v in (query, key, value))
        scores = at.emit("MatMul", [query, key])
        for mask in _masks(found, scores, at):
            scores = at.emit("Add", [scores, mask])
        weights = at.emit("Softmax", [scores], axis=-1)
        if found.zeros:
            nothing = _in_groups(_unanswered(found, at), found, at)
            weights = at.emit("Where", [nothing, at.weight(np.array(0, _kind(weights, at))), weights])
        result = at.emit("MatMul", [weights, value])
        after = at.fact(node.output).shape
        assert after is not None
        shape = at.fact(result).shape
        if found.sharing > 1 and shape is not None:
            result = at.reshape(result, (shape[0], found.heads, *shape[3:]))
        if len(after) == 4:
            return [result]
        return [at.reshape(at.emit("Transpose", [result], perm=[0, 2, 1, 3]), after)]


def _projected(found: Steps, at: Workspace) -> list[str]:
    """Queries, keys and values, with what is added to them."""
    starts = [sum(found.sizes[:index]) for index in range(3)]
    pieces = list(zip(starts, found.sizes, strict=True))
    rows = list(found.rows)
    if found.weight:
        rows = [at.emit("MatMul", [*found.rows, cut(found.weight, 1, *piece, at)]) for piece in pieces]
    if found.bias:
        rows = [at.emit("Add", [v, cut(found.bias, 0, *piece, at)]) for v, piece in zip(rows, pieces, strict=True)]
    return rows


def _heads(value: str, heads: int, at: Workspace) -> str:
    """Rows of all heads, taken apart."""
    shape = at.fact(value).shape
    assert shape is not None
    if len(shape) == 4:
        return value
    apart = at.reshape(value, (*shape[:2], heads, shape[2] // heads))
    return at.emit("Transpose", [apart], perm=[0, 2, 1, 3])


def _in_groups(value: str, found: Steps, at: Workspace) -> str:
    """What belongs to heads, with an axis more: that of the queries which share keys and values."""
    shape = at.fact(value).shape
    if found.sharing == 1 or shape is None or len(shape) < 3:
        return value
    *front, heads, rows, columns = shape
    groups = (heads, 1) if heads != found.heads else (found.heads // found.sharing, found.sharing)
    return at.reshape(value, (*front, *groups, rows, columns))


def _times(value: str, factor: float, at: Workspace) -> str:
    return at.emit("Mul", [value, at.weight(np.array(factor, _kind(value, at)))])


def _kind(value: str, at: Workspace) -> np.dtype:
    return onnx.helper.tensor_dtype_to_np_dtype(at.fact(value).dtype)


def _masks(found: Steps, scores: str, at: Workspace) -> list[str]:
    """What is added to the scores."""
    kind, shape, masks = _kind(scores, at), at.fact(scores).shape, []
    assert shape is not None
    if found.causal:
        masks.append(at.weight(np.where(_triangle(shape[-2]), 0, -np.inf).astype(kind)))
    if found.keys:
        seen = at.emit("Greater", [found.keys, at.weight(np.array(0, _kind(found.keys, at)))])
        added = at.emit("Where", [seen, at.weight(np.array(0, kind)), at.weight(np.array(found.filter, kind))])
        sizes = at.fact(found.keys).shape or ()
        masks.append(at.reshape(added, (sizes[0], *[1] * (4 - len(sizes)), *sizes[1:])))
    if found.scores:
        array = at.constant(found.scores)
        if array is not None and array.dtype == np.bool_:
            added = at.weight(np.where(array, 0, -np.inf).astype(kind))
        elif at.fact(found.scores).dtype == onnx.TensorProto.BOOL:
            numbers = [at.weight(np.array(number, kind)) for number in (0, -np.inf)]
            added = at.emit("Where", [found.scores, *numbers])
        else:
            added = found.scores
        masks.append(_in_groups(added, found, at))
    return masks


def _triangle(size: int) -> np.ndarray:
    return np.tri(size, dtype=np.bool_)


def _unanswered(found: Steps, at: Workspace) -> str:
    """Whether a query sees no key."""
    seen, shape = found.scores, at.fact(found.scores).shape
    assert shape is not None
    kind = at.fact(seen).dtype
    if kind != onnx.TensorProto.BOOL:
        # ONNX Runtime takes what has nothing above the lowest number added for what is not seen.
        seen = at.emit("Greater", [seen, at.weight(np.array(lowest(kind), _kind(seen, at)))])
    if found.causal:
        seen = at.emit("And", [seen, at.weight(_triangle(shape[-1]))])
    count = at.emit("Cast", [seen], to=onnx.TensorProto.INT32)
    most = at.emit("ReduceMax", [count, at.weight(np.array([-1], np.int64), "mari/axes")], keepdims=1)
    return at.emit("Equal", [most, at.weight(np.array(0, np.int32))])
