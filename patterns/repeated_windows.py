"""A convolution whose windows see the same entries everywhere::

    Conv( Expand(x: [B, c, 1]) -> [B, c, T], W )   ->   Expand( Conv(x, sum of W along the windows) )

    conv(repeat(x), W) = repeat(conv(x, sum_k W))

An item that is set beside each step of a history is read once. It holds without padding along the axis only: a window
that reaches over the end would see fewer entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._repeats import source_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Repeated:
    """What is repeated, along which axes of the windows, and the result's shape."""

    source: str
    axes: tuple[int, ...]
    shape: Shape


class RepeatedWindows(Rule[Repeated]):
    """Reads one entry where a convolution's windows see it repeated."""

    name = "repeated-windows"
    algebra = "conv(repeat(x), W) = repeat(conv(x, sum_k W))"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Repeated | None:
        source = source_of(node.inputs[0], at)
        before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
        own = at.fact(source).shape if source is not None else None
        if source is None or own is None or before is None or after is None or len(own) != len(before):
            return None
        repeated = [axis for axis in range(len(own)) if not same(own[axis], before[axis])]
        if not repeated or repeated[0] < 2 or not at.is_weight(node.inputs[1]):
            return None
        if node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or _is_padded(node, repeated, len(own)):
            return None
        return Repeated(source, tuple(repeated), after) if all(map(at.sizes.can_build, after)) else None

    def rewrite(self, node: Node, found: Repeated, at: Workspace) -> Sequence[str]:
        axes, weight = found.axes, node.inputs[1]

        def summed() -> np.ndarray:
            array = at.constant(weight)
            assert array is not None
            return np.asarray(array.sum(axis=axes, keepdims=True, dtype=np.float64).astype(array.dtype))

        kernel = at.cached_weight(("summed", weight, axes), summed, f"{weight}/summed")
        once = at.emit("Conv", [found.source, kernel, *node.inputs[2:]], **_of_one(node.attrs, axes))
        return [at.emit("Expand", [once, at.sizes.known(found.shape)])]


def _is_padded(node: Node, axes: Sequence[int], rank: int) -> bool:
    pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * rank - 4))]
    return any(pads[axis - 2] or pads[axis - 2 + rank - 2] for axis in axes)


def _of_one(attrs: Any, axes: Sequence[int]) -> dict[str, Any]:
    """The attributes for one entry along some axes."""
    changed = {}
    for name in {"kernel_shape", "strides", "dilations"} & set(attrs):
        changed[name] = [1 if k + 2 in axes else int(a) for k, a in enumerate(attrs[name])]
    return {**attrs, **changed}
