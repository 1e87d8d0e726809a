"""One rule at work on a small model written as ONNX text, and ONNX Runtime as the judge.

A model names its inputs ``user...`` and ``item...``; any other input is given once per request. ``B`` is the number
of candidates. What is declared between ``<`` and ``>`` behind the outputs is a weight, and is filled with small whole
numbers: then every sum is exact in float32, and results must agree to the last bit whatever the order of additions.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper, parser

from mari_onnx.analysis import Inputs, InputSide, analyze_graph
from mari_onnx.hoist import hoist
from mari_onnx.ir import read_graph, write_model
from mari_onnx.ir.graph import Graph
from mari_onnx.normalise import normalise, without_dead_nodes
from mari_onnx.patterns import RULES
from mari_onnx.rewrite import engine
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.record import Applied
from mari_onnx.rewrite.registry import AnyRule
from mari_onnx.rewrite.workspace import Workspace
from mari_onnx.tidy import with_unique_node_names, without_keepers

BATCHES = (1, 2, 7)
OTHER_SIZE = 3
"""What a symbolic size other than B is when the model runs."""

IDS = 4
"""Ids lie below, so tables need as many rows."""

Feeds = dict[str, np.ndarray]
Array = np.ndarray


# -- models ------------------------------------------------------------------------------------------------------------


def model_of(text: str, *, opset: int = 17, seed: int = 0, **weights: Any) -> onnx.ModelProto:
    """A model from text; weights that are declared but not given are filled with small whole numbers."""
    model = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}, "ai.onnx.ml" : 3, "com.microsoft" : 1]> {text}'
    )
    made = {v for node in model.graph.node for v in node.output}
    random = np.random.default_rng(seed)
    for value in list(model.graph.value_info):
        if value.name not in made:
            model.graph.value_info.remove(value)
            if value.name not in weights:
                shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
                weights[value.name] = numbers(random, value.type.tensor_type.elem_type, shape)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def typed(dtype: str, shape: Sequence[object]) -> str:
    """A type in ONNX text; ``float[]`` would be a value of unknown rank."""
    return f"{dtype}[{','.join(map(str, shape))}]" if shape else dtype


def numbers(random: np.random.Generator, dtype: int, shape: Sequence[int]) -> Array:
    """Small whole numbers; ids where the type is that of ids."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    if dtype == TensorProto.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    if dtype in (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8):
        return random.integers(0, IDS, shape).astype(kind)
    return random.integers(-4, 5, shape).astype(kind)


# -- requests ----------------------------------------------------------------------------------------------------------


def requests(model: onnx.ModelProto, inputs: Inputs, batch: int, seed: int = 0) -> tuple[Feeds, Feeds]:
    """The same request for the original, the user's row repeated, and for the result, with one row."""
    random = np.random.default_rng((seed, batch))
    full: Feeds = {}
    single: Feeds = {}
    weights = {t.name for t in model.graph.initializer}
    for value in model.graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else OTHER_SIZE for d in tensor.shape.dim]
        side, axis = inputs.sides[value.name], inputs.axes.get(value.name, 0)
        if side is InputSide.ITEM:
            shape[axis] = batch
        elif side is InputSide.USER:
            shape[axis] = 1
        row = numbers(random, tensor.elem_type, shape)
        single[value.name] = row
        full[value.name] = row.repeat(batch, axis=axis) if side is InputSide.USER else row
    return full, single


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def assert_same(expected: Sequence[Any], found: Sequence[Any], *, exact: bool = True, note: str = "") -> None:
    assert len(expected) == len(found)
    for index, (left, right) in enumerate(zip(expected, found, strict=True)):
        assert left.dtype == right.dtype, f"output {index}: {note}"
        assert left.shape == right.shape, f"output {index}: {note}"
        if exact:
            np.testing.assert_array_equal(right, left, err_msg=f"output {index}: {note}")
        else:
            np.testing.assert_allclose(right, left, rtol=1e-5, atol=1e-5, err_msg=f"output {index}: {note}")


def assert_valid(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)


# -- rules -------------------------------------------------------------------------------------------------------------


def rule_named(name: str) -> AnyRule:
    return next(r for r in RULES if r.name == name)


@contextmanager
def keeping_everything() -> Iterator[None]:
    """Every application is kept, also one that only makes the graph larger (another rule would make use of it)."""
    with (
        mock.patch.object(engine, "MIN_GAIN", -math.inf),
        mock.patch.object(engine, "EARLY_LOSS", math.inf),
        mock.patch.object(engine._Engine, "_enabled", return_value=True),
    ):
        yield


@dataclass(frozen=True)
class Outcome:
    """What a rule did to a model.

    Attributes:
        original: The model.
        result: The model behind hoist and rule.
        applied: Every application.
        refused: Why rules did not apply, by rule and node.
        workspace: The graph at work.
        inputs: The sides of the inputs.
    """

    original: onnx.ModelProto
    result: onnx.ModelProto
    applied: tuple[Applied, ...]
    refused: Mapping[tuple[str, str], str]
    workspace: Workspace
    inputs: Inputs

    @property
    def times(self) -> int:
        return len(self.applied)

    @cached_property
    def ops(self) -> Counter[str]:
        """How many nodes of each operator there are."""
        return Counter(node.op_type for node in self.result.graph.node)

    def of(self, op: str) -> list[onnx.NodeProto]:
        return [node for node in self.result.graph.node if node.op_type == op]

    @property
    def reasons(self) -> set[str]:
        return set(self.refused.values())

    def size_of(self, value: str) -> tuple[Any, ...]:
        """The shape of a value of the result."""
        shape = self.workspace.fact(value).shape
        assert shape is not None
        return shape


def sides_of(model: onnx.ModelProto) -> Inputs:
    """Sides by name, the candidate axis by its size ``B``; axis 0 where the model has a fixed number of candidates."""
    weights = {t.name for t in model.graph.initializer}
    sides: dict[str, InputSide] = {}
    axes: dict[str, int] = {}
    batch = None
    for value in model.graph.input:
        if value.name in weights:
            continue
        side = {"user": InputSide.USER, "item": InputSide.ITEM}.get(value.name[:4], InputSide.SHARED)
        sides[value.name] = side
        if side is not InputSide.SHARED:
            dims = list(value.type.tensor_type.shape.dim)
            named = [index for index, dim in enumerate(dims) if dim.dim_param == "B"]
            axes[value.name] = named[0] if named else 0
            batch = None if named else dims[0].dim_value
    return Inputs(sides, axes, batch)


def at_work(model: onnx.ModelProto, inputs: Inputs) -> Workspace:
    """The model's graph behind the hoist."""
    graph = normalise(read_graph(model))
    copy = Graph(graph.model, graph.opset, graph.inputs, graph.outputs, graph.weights, graph.nodes)
    return hoist(copy, analyze_graph(graph, inputs))


def apply(
    rules: str | Sequence[AnyRule],
    text: str | onnx.ModelProto,
    *,
    opset: int = 17,
    exact: bool = True,
    batches: Sequence[int] = BATCHES,
    **weights: Any,
) -> Outcome:
    """Hoists, applies one rule (by name) or several wherever they match, and lets ONNX Runtime judge the result.

    Args:
        rules: The name of one rule of ours, or rules.
        text: The model.
        opset: Its operator set, where it is text.
        exact: Whether results must agree to the last bit.
        batches: Numbers of candidates to run at.
        weights: Weights with other numbers than random ones.
    """
    model = model_of(text, opset=opset, **weights) if isinstance(text, str) else text
    assert_valid(model)
    before = model.SerializeToString(deterministic=True)
    inputs = sides_of(model)
    workspace = at_work(model, inputs)
    with keeping_everything():
        chosen = [rule_named(rules)] if isinstance(rules, str) else rules
        rewritten = rewrite(workspace, chosen, CostModel(), max_trials=200)
    assert not rewritten.exhausted, "the rule undoes its own work, or a model here is too large"
    result = write_model(with_unique_node_names(without_dead_nodes(without_keepers(workspace.graph))))
    outcome = Outcome(model, result, rewritten.applied, rewritten.refused, workspace, inputs)
    assert model.SerializeToString(deterministic=True) == before, "the model that was handed in has changed"
    assert_valid(result)
    judge(model, result, inputs, exact=exact, batches=batches)
    return outcome


def judge(
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    inputs: Inputs,
    *,
    exact: bool = True,
    batches: Sequence[int] = BATCHES,
    seeds: Sequence[int] = (0,),
) -> None:
    """Runs both models on the same requests and compares all outputs."""
    if inputs.batch is not None:
        batches = (inputs.batch,)
    one, other = session(original), session(result)
    for batch, seed in itertools.product(batches, seeds):
        full, single = requests(original, inputs, batch, seed)
        keeps = {v.name: full[v.name] for v in result.graph.input if _is_wide(v, inputs)}
        found = other.run(None, {**single, **keeps})
        assert_same(one.run(None, full), found, exact=exact, note=f"B = {batch}, seed {seed}")


def _is_wide(value: onnx.ValueInfoProto, inputs: Inputs) -> bool:
    """Whether a user-side input kept all its rows (as one that is an output as well does)."""
    if inputs.sides.get(value.name) is not InputSide.USER:
        return False
    return bool(value.type.tensor_type.shape.dim[inputs.axes[value.name]].dim_value != 1)
