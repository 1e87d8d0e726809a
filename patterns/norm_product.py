"""A product over columns that are normalised::

    Gemm( BatchNormalization(x), W, c )   ->   Gemm( x, diag(s) W, C = o W + c )

    (x s + o) W + c = x (s W) + (o W + c)

``s`` and ``o`` follow from the parameters of a normalisation that is trained no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._linear import is_plain_layer
from mari_onnx.patterns._norms import Affine, as_affine, columns_of, made, row_like
from mari_onnx.patterns._parts import one_row
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

MANY_DEVIATIONS = 100.0


@dataclass(frozen=True, slots=True)
class Normalised:
    """What is normalised, and what the normalisation does."""

    value: str
    norm: Affine


class NormProduct(Rule[Normalised]):
    """Normalises the weights of a product instead of what it reads."""

    name = "norm-product"
    algebra = "(x s + o) W + c = x (s W) + (o W + c)"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Normalised | None:
        value = node.inputs[0]
        producer = at.graph.producer(value)
        if producer is None or producer.op != "BatchNormalization" or at.graph.is_output(value):
            return None
        if not all(n.inputs[0] == value and is_plain_layer(n, at) for n in at.graph.consumers(value)):
            return None
        norm = as_affine(producer, at)
        # A mean of many deviations is subtracted before anything is rounded, or digits are lost.
        if norm is None or np.abs(norm.summands).max(initial=0) > MANY_DEVIATIONS:
            return None
        return Normalised(producer.inputs[0], norm)

    def rewrite(self, node: Node, found: Normalised, at: Workspace) -> Sequence[str]:
        norm, alpha = found.norm, float(node.attrs.get("alpha", 1.0))
        array = at.constant(node.inputs[1])
        assert array is not None
        key = ("rows", *norm.key, bool(node.attrs.get("transB", 0)))
        weight = made(node.inputs[1], key, lambda w: columns_of(w, node) * norm.factors[:, None], at)
        summands = alpha * (norm.summands @ columns_of(array, node))
        if not node.has_input(2):
            row = row_like(summands, node.inputs[1], at)
        elif at.is_weight(node.inputs[2]):
            row = made(node.inputs[2], ("row", *key, node.inputs[1], alpha), lambda c: c.reshape(1, -1) + summands, at)
        else:
            row = at.emit("Add", [one_row(node.inputs[2], at), row_like(summands, node.inputs[1], at)])
        return [at.emit("Gemm", [found.value, weight, row], alpha=alpha)]
