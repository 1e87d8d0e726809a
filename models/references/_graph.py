"""What the hand-written graphs are written with: nodes one after the other, weights taken from an export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, takewhile
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.catalog import Exported

Operand = str | np.ndarray
Layer = tuple[np.ndarray, np.ndarray]
"""Weight [in, out] and bias of a linear layer."""


class Graph:
    """A graph in the making, for the inputs and outputs of an export; user inputs have one row."""

    def __init__(self, meta: Exported) -> None:
        self.export = onnx.load(meta.path).graph
        self.weights = {t.name: numpy_helper.to_array(t) for t in self.export.initializer}
        self.widths = {i["name"]: int(np.prod(i["shape"][1:])) for i in meta.inputs}
        self._users = set(meta.user_inputs)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, op: str, *operands: Operand, **attributes: Any) -> str:
        """Append a node; the name of its output."""
        return self.split(op, *operands, outputs=1, **attributes)[0]

    def split(self, op: str, *operands: Operand, outputs: int, **attributes: Any) -> list[str]:
        """Append a node with several outputs; their names."""
        name = f"{op}_{len(self._nodes)}"
        made = [f"{name}_{k}" for k in range(outputs)]
        self._nodes.append(helper.make_node(op, [self._named(o) for o in operands], made, name=name, **attributes))
        return made

    def lookup(self, table: str, ids: str) -> str:
        """Rows of a table of the export."""
        return self.add("Gather", self.weights[f"{table}.weight"], ids, axis=0)

    def rectified(self, x: str, layers: Iterable[Layer]) -> str:
        """Linear layers with a ReLU after each."""
        for weight, bias in layers:
            x = self.add("Relu", self.add("Gemm", x, weight, bias))
        return x

    def halves(self, layer: Layer, user: tuple[str, Sequence[int]], item: tuple[str, Sequence[int]]) -> str:
        """A linear layer of columns that lie in two tensors: the user's product is the bias of the items'."""
        weight, bias = layer
        once = self.add("Gemm", user[0], weight[user[1]], bias)
        return self.add("Gemm", item[0], weight[item[1]], once)

    def layer(self, name: str) -> Layer:
        """A linear layer of the export."""
        return self.weights[f"{name}.weight"].T, self.weights[f"{name}.bias"]

    def layers(self, name: str) -> list[Layer]:
        """The linear layers of a perceptron; what lies between two of them has a number too."""
        numbers = takewhile(lambda n: f"{name}.{n}.bias" in self.weights, count(0, 2))
        return [self.layer(f"{name}.{n}") for n in numbers]

    def finish(self, *results: str) -> onnx.ModelProto:
        """The model, with the names of the export for what goes in and comes out."""
        inputs = [_one_row(v) if v.name in self._users else v for v in self.export.input]
        outputs = list(self.export.output)
        for made, value in zip(results, outputs, strict=True):
            self._nodes.append(helper.make_node("Identity", [made], [value.name]))
        graph = helper.make_graph(self._nodes, "reference", inputs, outputs, self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def _named(self, operand: Operand) -> str:
        if isinstance(operand, str):
            return operand
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(operand), name))
        return name


def ints(*values: int) -> np.ndarray:
    """Axes, sizes and the like."""
    return np.array(values, np.int64)


def single(*values: float) -> np.ndarray:
    """Numbers as float32."""
    return np.array(values, np.float32)


def columns(widths: Sequence[int], *parts: int) -> list[int]:
    """The columns of some parts of a Concat."""
    ends = np.cumsum([0, *widths])
    return [c for part in parts for c in range(ends[part], ends[part + 1])]


def _one_row(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    kind = value.type.tensor_type
    shape = [1, *(d.dim_value for d in kind.shape.dim[1:])]
    return helper.make_tensor_value_info(value.name, kind.elem_type, shape)
