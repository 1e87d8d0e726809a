"""Small models in ONNX text, what is proven of their values, and whether the optimized model is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto

import mari_onnx
from mari_onnx.analysis import Analysis, CandidateAxis, Fact, Side
from mari_onnx.ir.dims import CANDIDATES, same
from tests.soundness.judge import Runner, difference

SYMBOL = "B"
BATCHES = (1, 2, 3, 7)


def parse(text: str, opset: int = 18, **initializers: np.ndarray) -> onnx.ModelProto:
    """The model `g <text>` at an operator set, with further weights."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, array in initializers.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(model)
    return model


def analyze(model: onnx.ModelProto, users: Sequence[str] = ("u",)) -> Analysis:
    return mari_onnx.analyze(model, list(users))


def drawn(
    declared: onnx.ValueInfoProto, batch: int, seed: int, user: bool, lengths: Mapping[str, int] | None = None
) -> np.ndarray:
    """Small integers, ids below 3, so that results are exact; user rows are all the same."""
    tensor = declared.type.tensor_type
    rng = np.random.default_rng([seed, sum(map(ord, declared.name))])
    known = {SYMBOL: batch, **(lengths or {})}
    sizes = [known.get(d.dim_param, d.dim_value) for d in tensor.shape.dim]
    fixed = [k for k, d in enumerate(tensor.shape.dim) if d.dim_param == SYMBOL] or [0]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    low, high = (0, 3) if dtype.kind in "iu" else (0, 2) if dtype.kind == "b" else (-4, 5)
    array = rng.integers(low, high, sizes).astype(dtype)
    return np.repeat(np.take(array, [0], fixed[0]), sizes[fixed[0]], fixed[0]) if user and sizes else array


def assert_right(
    model: onnx.ModelProto,
    users: Sequence[str] = ("u",),
    batches: Sequence[int] = BATCHES,
    lengths: Mapping[str, int] | None = None,
) -> None:
    """The optimized model gives what the original gives, with open sizes other than B as they are given."""
    result = mari_onnx.optimize(model, user_inputs=list(users), verify=False).model
    original, optimized = Runner(model), Runner(result)
    rows = {i.name: i.type.tensor_type.shape.dim for i in result.graph.input}
    for batch in batches:
        for seed in range(2):
            feeds = {i.name: drawn(i, batch, seed, i.name in users, lengths) for i in model.graph.input}
            single = {n: _as_declared(feeds[n], rows[n]) for n in feeds}
            problem = difference(original(feeds), optimized(single))
            assert problem is None, f"{problem} at B = {batch}\n{onnx.printer.to_text(result)}"


def _as_declared(array: np.ndarray, dims: Any) -> np.ndarray:
    for axis, dim in enumerate(dims):
        if dim.dim_value == 1:
            array = np.take(array, [0], axis)
    return array


def assert_side(
    model: onnx.ModelProto,
    sides: Mapping[str, Side],
    axes: Mapping[str, CandidateAxis | None] | None = None,
    users: Sequence[str] = ("u",),
    batches: Sequence[int] = BATCHES,
) -> None:
    """Values are on these sides, and the optimized model is right."""
    analysis = analyze(model, users)
    for value, side in sides.items():
        fact = analysis.facts[value]
        assert fact.side is side, f"{value} is {fact.side.value}, not {side.value}: {fact.opaque}"
        if side is Side.OPAQUE:
            assert fact.opaque, "a refusal says why"
    for value, axis in (axes or {}).items():
        assert same_axis(analysis.facts[value].axis, axis), analysis.facts[value].axis
    assert_right(model, users, batches)


def same_axis(found: CandidateAxis | None, wanted: CandidateAxis | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return found.index == wanted.index and same(found.outer, wanted.outer) and same(found.inner, wanted.inner)


def fact(shape: Sequence[Any], axis: CandidateAxis | None = None, dtype: int = TensorProto.FLOAT, **more: Any) -> Fact:
    """A fact as the analysis would have it; `B` in the shape is the number of candidates."""
    return Fact(dtype, tuple(CANDIDATES if s == SYMBOL else s for s in shape), axis, **more)
