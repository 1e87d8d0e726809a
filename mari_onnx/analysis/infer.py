"""Types and shapes of a node's outputs, by onnx's own inference, with symbolic sizes carried through it.

onnx knows sizes as numbers or names. Each symbolic size goes in under a name of its own and is recognised when it
comes out again; sizes that onnx cannot tell come out as fresh symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import onnx
from onnx import TypeProto, shape_inference

from mari_onnx.analysis.contrib import TYPES, contrib_outputs
from mari_onnx.analysis.facts import Fact, Shape
from mari_onnx.ir.dims import Dim, fresh
from mari_onnx.ir.graph import Node

POOLING = frozenset({"MaxPool", "AveragePool", "LpPool"})


@lru_cache(maxsize=4096)
def _schema(op: str, opset: int, domain: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None


def _is_guessed(node: Node) -> bool:
    """Whether onnx and ONNX Runtime count windows differently: rounded up, or padded to some size."""
    padded = node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if node.op == "ConvTranspose":
        return padded or "output_shape" in node.attrs
    return node.op in POOLING and (bool(node.attrs.get("ceil_mode", 0)) or padded)


def _without_windows(shape: Shape | None) -> Shape | None:
    """Samples and channels, and sizes that nobody knows."""
    return None if shape is None or len(shape) < 3 else (*shape[:2], *(fresh() for _ in shape[2:]))


class TypeInference:
    """Infers one node at a time.

    Args:
        model: Tells the operator sets in force.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._imports = list(model.opset_import)
        self._versions = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
        self._ir_version = model.ir_version or 8
        self._names: dict[Dim, str] = {}
        self._sizes: dict[str, Dim] = {}
        self._unknown = TypeProto()
        self._types: dict[tuple[int, Shape | None], TypeProto] = {}

    def knows(self, node: Node) -> bool:
        """Whether the operator is defined: by onnx, or in our table of ONNX Runtime's own."""
        return node.kind in TYPES or _schema(node.op, self._versions.get(node.domain, 0), node.domain) is not None

    def accepts(self, op: str, dtype: int) -> bool:
        """Whether the first input of an ai.onnx operator may have an element type."""
        schema = _schema(op, self._versions.get("", 0), "")
        name = onnx.TensorProto.DataType.Name(dtype).lower()
        return schema is not None and f"tensor({name})" in schema.inputs[0].types

    def outputs(
        self, node: Node, inputs: Sequence[Fact | None], data: Mapping[str, onnx.TensorProto]
    ) -> list[tuple[int, Shape | None]]:
        """Element type and shape of each output; 0 and ``None`` where unknown.

        Args:
            node: The node.
            inputs: Facts of its inputs, ``None`` for absent ones.
            data: Small constant inputs by name.
        """
        if node.kind in TYPES:
            return contrib_outputs(node, inputs)
        schema = _schema(node.op, self._versions.get(node.domain, 0), node.domain)
        if schema is None or node.captures:
            return [(0, None)] * len(node.outputs)
        types = {name: self._encoded(fact) for name, fact in zip(node.inputs, inputs, strict=True) if name and fact}
        try:
            inferred = shape_inference.infer_node_outputs(
                schema, proto_of(node), types, dict(data), opset_imports=self._imports, ir_version=self._ir_version
            )
        except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError, TypeError):
            return [(0, None)] * len(node.outputs)
        found = [self._decoded(inferred[name]) if name in inferred else (0, None) for name in node.outputs]
        return [(dtype, _without_windows(shape)) for dtype, shape in found] if _is_guessed(node) else found

    def _encoded(self, fact: Fact) -> TypeProto:
        known = self._types.get((fact.dtype, fact.shape))
        if known is None:
            known = self._types[fact.dtype, fact.shape] = self._new(fact)
        return known

    def _new(self, fact: Fact) -> TypeProto:
        result = TypeProto()
        if not fact.dtype:
            return result
        result.tensor_type.elem_type = fact.dtype
        if fact.shape is not None:
            shape = result.tensor_type.shape
            shape.SetInParent()  # a scalar has a shape too, an empty one
            for dim in fact.shape:
                entry = shape.dim.add()
                if isinstance(dim, int):
                    entry.dim_value = dim
                else:
                    entry.dim_param = self._name(dim)
        return result

    def _name(self, dim: Dim) -> str:
        name = self._names.get(dim)
        if name is None:
            name = f"s{len(self._names)}"
            self._names[dim] = name
            self._sizes[name] = dim
        return name

    def _decoded(self, type_: TypeProto) -> tuple[int, Shape | None]:
        if not type_.HasField("tensor_type"):
            return 0, None
        tensor = type_.tensor_type
        if not tensor.HasField("shape"):
            return tensor.elem_type, None
        return tensor.elem_type, tuple(self._size(d) for d in tensor.shape.dim)

    def _size(self, dim: Any) -> Dim:
        if dim.HasField("dim_value"):
            return int(dim.dim_value)
        return self._sizes[dim.dim_param] if dim.dim_param in self._sizes else fresh()


def proto_of(node: Node) -> onnx.NodeProto:
    """A node as onnx writes it."""
    proto = onnx.NodeProto()
    if node.source is not None:
        proto.CopyFrom(node.source)
        proto.input[:] = node.inputs
        proto.output[:] = node.outputs
        return proto
    return onnx.helper.make_node(
        node.op, node.inputs, node.outputs, domain=node.domain or None, **dict(node.attrs.items())
    )
