"""Small models for the verification tests, written as ONNX text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

ModelMaker = Callable[..., onnx.ModelProto]
HEADER = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>'


def _make(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def _with_metadata(model: onnx.ModelProto, **entries: object) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    helper.set_model_props(copy, {f"mari.{key}": json.dumps(value) for key, value in entries.items()})
    return copy


@pytest.fixture
def make() -> ModelMaker:
    """`make(text, name=array, ...)`: a graph in ONNX text with initializers."""
    return _make


@pytest.fixture
def with_metadata() -> ModelMaker:
    """`with_metadata(model, user_inputs=[...])`: a copy with `mari.*` metadata."""
    return _with_metadata


SCORE = """
score (float[B,3] user, float[B,2] item) => (float[B,1] score) {
  x = Concat<axis=1>(user, item)
  score = MatMul(x, w)
}
"""
SPLIT = """
score (float[1,3] user, float[B,2] item) => (float[B,1] score) {
  u = MatMul(user, w_user)
  i = MatMul(item, w_item)
  score = Add(u, i)
}
"""


@pytest.fixture
def weight() -> np.ndarray:
    """The weight of the scoring pair."""
    return np.random.default_rng(0).standard_normal((5, 1)).astype(np.float32)


@pytest.fixture
def original(weight: np.ndarray) -> onnx.ModelProto:
    """A scorer as exported: the user's features on each row."""
    return _make(SCORE, w=weight)


@pytest.fixture
def optimized(weight: np.ndarray) -> onnx.ModelProto:
    """The same scorer, its user half computed once."""
    return _make(SPLIT, w_user=weight[:3], w_item=weight[3:])


@pytest.fixture
def ranges_of() -> Callable[..., Mapping[str, object]]:
    """`ranges_of(model)`: the derived range of each input."""
    from mari_onnx.verification import open_source, original_inputs, plan_feeds, stated_axes

    def derive(model: onnx.ModelProto) -> Mapping[str, object]:
        source = open_source(model)
        inputs = original_inputs(source, stated_axes(source))
        return plan_feeds(source, inputs, ()).ranges

    return derive
