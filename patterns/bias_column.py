"""The bias of a wide layer as one more row of its weight::

    Add( MatMul( x: [B, T, k], W: [k, n] ), b: [n] )   ->   MatMul( Pad(x, 1): [B, T, k + 1], [W; b] )

    x W + b = [x, 1] [W; b]

Where a layer makes many columns of few, as the first of a feed-forward network in a transformer, adding its bias reads
and writes all of them once more. ONNX Runtime does not merge it with a product of stacks whose sizes are open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

WIDER = 2
"""Times as many columns as the layer reads, at the least."""
LEAST = 1 << 14
"""Entries that a candidate has, at the least: fewer are added up while they are in the cache, which costs no more than
to widen the rows."""


@dataclass(frozen=True, slots=True)
class Biased:
    """What is multiplied with a constant, and the constant that is added."""

    rows: str
    weight: str
    bias: str


class BiasColumn(Rule[Biased]):
    """Multiplies a one with the bias."""

    name = "bias-column"
    algebra = "x W + b = [x, 1] [W; b]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Biased | None:
        if at.opset < 11 or at.inputs.batch is not None or at.is_once(node.output):
            return None
        for made, bias in (node.inputs, node.inputs[::-1]):
            found = _layer(made, bias, at)
            if found is not None:
                return found
        return None

    def rewrite(self, node: Node, found: Biased, at: Workspace) -> Sequence[str]:
        fact = at.fact(found.rows)
        rank, dtype = fact.rank or 0, onnx.helper.tensor_dtype_to_np_dtype(fact.dtype)
        behind = at.weight(np.array([0] * (2 * rank - 1) + [1], np.int64))
        rows = at.emit("Pad", [found.rows, behind, at.weight(np.ones((), dtype))])

        def stacked() -> np.ndarray:
            weight, bias = at.constant(found.weight), at.constant(found.bias)
            assert weight is not None
            assert bias is not None
            return np.concatenate([weight, bias.reshape(1, -1)])

        weight = at.cached_weight(("bias", found.weight, found.bias), stacked, f"{found.weight}/biased")
        return [at.emit("MatMul", [rows, weight])]


def _layer(made: str, bias: str, at: Workspace) -> Biased | None:
    product = at.graph.producer(made)
    if product is None or product.op != "MatMul" or product.domain or not at.graph.is_private(made):
        return None
    rows, weight = product.inputs
    if not at.is_weight(weight) or not at.is_weight(bias) or at.fact(made).dtype not in PRECISE:
        return None
    shape, added, rank = at.fact(weight).shape or (), at.fact(bias).shape or (), at.fact(rows).rank or 0
    if len(shape) != 2 or rank < 3 or len(added) > rank or shape[1] < WIDER * shape[0]:
        return None
    inner = (at.fact(made).shape or ())[1:]
    if not all(isinstance(d, int) for d in inner) or math.prod(inner) < LEAST:
        return None
    plain = added[-1:] == shape[1:] and all(d == 1 for d in added[:-1])
    return Biased(rows, weight, bias) if plain else None
