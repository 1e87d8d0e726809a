"""Models for the studies, written by hand: dense layers over the published layout of inputs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models import published_layer
from models.published_layer import OUTPUT, SEED, Layer, build

HIDDEN = "hidden"


def stacked(layer: Layer, depth: int) -> onnx.ModelProto:
    """The published layer with `depth - 1` more of its output's width on top, and a score."""
    model = build(layer)
    graph, rng = model.graph, np.random.default_rng(SEED)
    graph.node[-1].output[0] = f"{HIDDEN}0"

    def weight(name: str, *shape: int) -> str:
        scaled = rng.normal(0.0, shape[0] ** -0.5, shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(scaled, name))
        return name

    for index in range(1, depth):
        wide, bias = weight(f"w{index}", layer.out, layer.out), weight(f"b{index}", layer.out)
        graph.node.append(helper.make_node("Gemm", [f"{HIDDEN}{index - 1}", wide, bias], [f"g{index}"]))
        graph.node.append(helper.make_node("Relu", [f"g{index}"], [f"{HIDDEN}{index}"]))
    last = weight("last", layer.out, 1)
    graph.node.append(helper.make_node("MatMul", [f"{HIDDEN}{depth - 1}", last], [OUTPUT]))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    return model


def neat(layer: Layer) -> onnx.ModelProto:
    """The same function as the published layer, of the same inputs, the user's pieces in front of the items'."""
    model = build(layer)
    (concat,) = (node for node in model.graph.node if node.op_type == "Concat")
    rows = _rows(layer)
    order = sorted(concat.input, key=lambda name: name[0] != "u")
    weight = _array(model, "weight")
    _replace(model, "weight", np.concatenate([weight[rows[name]] for name in order]))
    concat.input[:] = order
    return model


def piecewise(layer: Layer) -> onnx.ModelProto:
    """The published layer split by hand as its inputs come: a product for each piece, and their sum."""
    model = build(layer)
    graph, rows, weight = model.graph, _rows(layer), _array(model, "weight")
    for value in graph.input:
        if value.name.startswith("u"):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    (relu,) = (node for node in graph.node if node.op_type == "Relu")
    del graph.node[:], graph.initializer[0]
    total = "bias"
    for name in sorted(rows, key=lambda name: name[0] != "u"):
        graph.initializer.append(numpy_helper.from_array(weight[rows[name]], f"weight/{name}"))
        graph.node.append(helper.make_node("MatMul", [name, f"weight/{name}"], [f"product/{name}"]))
        graph.node.append(helper.make_node("Add", [f"product/{name}", total], [f"sum/{name}"]))
        total = f"sum/{name}"
    graph.node.append(helper.make_node("Relu", [total], relu.output))
    return model


def _rows(layer: Layer) -> dict[str, slice]:
    """The rows of the weight that belong to each input."""
    widths = {feature.name: feature.shape[0] for feature in published_layer.inputs(layer)}
    (concat,) = (node for node in build(layer).graph.node if node.op_type == "Concat")
    found, start = {}, 0
    for name in concat.input:
        found[name] = slice(start, start + widths[name])
        start += widths[name]
    return found


def _array(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def _replace(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
