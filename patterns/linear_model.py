"""A linear model of scikit-learn over columns of user and item::

    LinearRegressor( Concat(u, i); W, c )    ->   Gemm( Concat(u, i), W, c )
    LinearClassifier( Concat(u, i); W, c )   ->   ArgMax( s ), Sigmoid( s )  with  s = Gemm( Concat(u, i), W, c )

    L(x; W, c) = x W + c

Its weight is an attribute. As a product it is one more that splits; where that is of no use, it stays. So does a
classifier with one score for two labels, which has borders of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from mari_onnx.analysis.transfer.learned import DOMAIN
from mari_onnx.ir import Node
from mari_onnx.patterns._parts import mixed_parts
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

REGRESSOR = f"{DOMAIN}.LinearRegressor"
CLASSIFIER = f"{DOMAIN}.LinearClassifier"

PLAIN = "NONE"
AFTERWARDS = {"LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}
"""What is made of the scores, and the operator for it."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A weight with one row for each column of the input, what is added, and the numbers of the labels."""

    weight: np.ndarray
    bias: np.ndarray | None
    labels: tuple[int, ...] = ()


class LinearModel(Rule[Linear]):
    """Writes a linear model as the product that it is."""

    name = "linear-model"
    algebra = "L(x; W, c) = x W + c"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset({REGRESSOR, CLASSIFIER})

    def match(self, node: Node, at: Workspace) -> Linear | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or parts.rank != 2 or at.fact(node.inputs[0]).dtype != onnx.TensorProto.FLOAT:
            return None
        after = node.attrs.get("post_transform", PLAIN)
        if node.kind == REGRESSOR:
            scores = int(node.attrs.get("targets", 1))
            return _linear(node, parts.total, scores) if after == PLAIN else None
        labels = tuple(map(int, node.attrs.get("classlabels_ints") or ()))
        if len(labels) < 2 or node.attrs.get("classlabels_strings") or after not in (PLAIN, *AFTERWARDS):
            return None
        return _linear(node, parts.total, len(labels), labels)

    def rewrite(self, node: Node, found: Linear, at: Workspace) -> Sequence[str]:
        inputs = [node.inputs[0], at.weight(found.weight)]
        scores = at.emit("Gemm", inputs if found.bias is None else [*inputs, at.weight(found.bias)])
        if node.kind == REGRESSOR:
            return [scores]
        place = at.emit("ArgMax", [scores], axis=1, keepdims=0)
        label = at.emit("Gather", [at.weight(np.array(found.labels, np.int64)), place], axis=0)
        after = AFTERWARDS.get(node.attrs.get("post_transform", PLAIN))
        attrs: dict[str, Any] = {"axis": 1} if after == "Softmax" else {}
        return [label, at.emit(after, [scores], **attrs) if after else scores][: len(node.outputs)]


def _linear(node: Node, columns: int, scores: int, labels: tuple[int, ...] = ()) -> Linear | None:
    """The attributes as matrix and row, where they are as many as there are columns and scores."""
    given, added = (np.array(node.attrs.get(k) or (), np.float32) for k in ("coefficients", "intercepts"))
    if given.size != columns * scores or added.size not in (0, scores):
        return None
    return Linear(np.ascontiguousarray(given.reshape(scores, columns).T), added if added.size else None, labels)
