"""Operators of ai.onnx.ml, as converters of scikit-learn and of tree libraries write them: a row is a sample."""

from __future__ import annotations

from mari_onnx.analysis.transfer.call import Call, Claim, Lane, Table
from mari_onnx.analysis.transfer.elementwise import unary

DOMAIN = "ai.onnx.ml"

BY_ENTRY = frozenset(f"{DOMAIN}.{op}" for op in ("LabelEncoder", "Binarizer", "CategoryMapper"))
"""Operators that treat each entry by itself, all in the same way."""


def rows(call: Call) -> Claim:
    """Each row of a matrix by itself; what is made of it is a row of every output."""
    axis = call.axis(0)
    if axis is None or axis.index != 0 or call.fact(0).rank != 2:
        return call.opaque("its candidates are not the rows of a matrix")
    return call.only([0], "a parameter") or call.all_outputs(Lane(axis))


SAMPLES = ("Scaler", "Imputer", "Normalizer", "OneHotEncoder")
TREES = ("TreeEnsemble", "TreeEnsembleRegressor", "TreeEnsembleClassifier")
LINEAR = ("LinearRegressor", "LinearClassifier", "SVMRegressor", "SVMClassifier")

TABLE: Table = {
    **dict.fromkeys(BY_ENTRY, unary),
    **{f"{DOMAIN}.{op}": rows for op in (*SAMPLES, *TREES, *LINEAR)},
}
