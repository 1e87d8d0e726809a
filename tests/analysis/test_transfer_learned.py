"""Operators of ai.onnx.ml: what is claimed of them holds for candidates that all differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis import CandidateAxis
from tests.analysis.oracle import B, Case, Operand, floats, lanes

ROWS = CandidateAxis(0)
TREE: dict[str, Any] = {
    "n_targets": 1,
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [1, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_values": [0.1, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "target_treeids": [0, 0],
    "target_nodeids": [1, 2],
    "target_ids": [0, 0],
    "target_weights": [1.5, -2.5],
}
LINEAR: dict[str, Any] = {"coefficients": [0.5, -1.0, 2.0], "intercepts": [0.25]}


def found(op: str, operand: Operand, outputs: int = 1, **attrs: Any) -> list[Any]:
    return list(lanes(Case(f"ai.onnx.ml.{op}", [operand], attrs, outputs=outputs)))


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("Scaler", {"offset": [0.5, 1.0, 2.0], "scale": [2.0, 3.0, 0.5]}),
        ("Scaler", {"offset": [0.5], "scale": [2.0]}),
        ("Imputer", {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": float("nan")}),
        ("Normalizer", {"norm": "L2"}),
        ("Normalizer", {"norm": "MAX"}),
        ("LinearRegressor", LINEAR),
        ("TreeEnsembleRegressor", TREE),
        ("Binarizer", {"threshold": 0.25}),
    ],
)
def test_rows_are_samples(op: str, attrs: dict[str, Any]) -> None:
    assert found(op, floats(B, 3, axis=0), **attrs) == [ROWS]


def test_labels_and_scores() -> None:
    attrs = {"coefficients": [0.5, -1.0, 2.0, 1.0, 0.0, 1.0], "intercepts": [0.1, 0.2], "classlabels_ints": [0, 1]}
    assert found("LinearClassifier", floats(B, 3, axis=0), 2, **attrs) == [ROWS, ROWS]


def test_labels_are_encoded_one_by_one() -> None:
    ids = Operand(np.arange(2 * B, dtype=np.int64).reshape(2, B) % 3, CandidateAxis(1))
    attrs = {"keys_int64s": [0, 1, 2], "values_floats": [0.5, 1.5, 2.5], "default_float": -1.0}
    assert found("LabelEncoder", ids, **attrs) == [CandidateAxis(1)]


def test_categories_are_mapped_one_by_one() -> None:
    ids = Operand(np.arange(2 * B, dtype=np.int64).reshape(2, B) % 3, CandidateAxis(1))
    attrs = {"cats_int64s": [0, 1, 2], "cats_strings": ["a", "b", "c"], "default_string": "d"}
    assert found("CategoryMapper", ids, **attrs) == [CandidateAxis(1)]


def test_hot_ones_are_a_further_axis() -> None:
    ids = Operand((np.arange(B * 2, dtype=np.int64) % 3).reshape(B, 2), ROWS)
    assert found("OneHotEncoder", ids, cats_int64s=[0, 1, 2], zeros=1) == [ROWS]


@pytest.mark.parametrize("operand", [floats(3, B, axis=1), floats(B, axis=0)])
def test_candidates_that_are_no_rows(operand: Operand) -> None:
    width = operand.array.shape[-1]
    assert found("Scaler", operand, offset=[0.5] * width, scale=[2.0] * width) == ["opaque"]
