"""What a node costs per request, in microseconds of one CPU thread, at a nominal number of candidates.

Three parts: arithmetic, bytes moved, and the fixed price of starting an operator. The last decides in small models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.dims import substitute
from mari_onnx.ir.graph import Node

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class CostModel:
    """Prices, rounded from measurements with ONNX Runtime on common x86 servers.

    Attributes:
        candidates: Nominal number of candidates per request.
        other: Stands for every other symbolic size.
        launch: Microseconds to start any operator.
        launch_view: Microseconds to start one that only renames sizes (Reshape and the like share memory).
        flops: Floating-point operations per microsecond in matrix products.
        entries: Entries per microsecond in elementwise arithmetic.
        moved: Bytes per microsecond read or written.
    """

    candidates: int = 512
    other: int = 32
    launch: float = 1.5
    launch_view: float = 0.8
    flops: float = 40_000.0
    entries: float = 1_000.0
    moved: float = 10_000.0

    def sizes(self, fact: Fact | None) -> Sizes | None:
        if fact is None or fact.shape is None:
            return None
        return tuple(int(substitute(d, self.candidates, self.other)) for d in fact.shape)


VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size"})

EXPENSIVE = frozenset(
    {"Exp", "Log", "Sigmoid", "Tanh", "Erf", "Gelu", "Pow", "Sqrt", "Softmax", "LogSoftmax", "Softplus"}
)
"""Elementwise operators that take several times as long as an addition."""


def _last_of_first(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    first = inputs[0] or (1,)
    return 2.0 * math.prod(output) * (first[-1] if first else 1)


def _gemm(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    first = inputs[0] or (1, 1)
    return 2.0 * math.prod(output) * first[0 if node.attrs.get("transA") else 1]


def _conv(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    return 2.0 * math.prod(output) * math.prod((inputs[1] or (1, 1))[1:])


def _recurrent(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    steps, batch, _ = inputs[0] or (1, 1, 1)
    return 2.0 * steps * batch * (math.prod(inputs[1] or (1,)) + math.prod(inputs[2] or (1,)))


def _einsum(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    terms = str(node.attrs["equation"]).replace(" ", "").split("->")[0].split(",")
    letters: dict[str, int] = {}
    for term, sizes in zip(terms, inputs, strict=True):
        for letter, size in zip(reversed(term.replace("...", "")), reversed(sizes or ()), strict=False):
            letters[letter] = max(letters.get(letter, 1), size)
    return 2.0 * math.prod(letters.values()) if len(terms) > 1 else 0.0


def _attention(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    query, key = inputs[0] or (1, 1), inputs[1] or (1, 1)
    return 4.0 * math.prod(query) * key[-2]


FLOPS: Mapping[str, Callable[[Node, Sequence[Sizes | None], Sizes], float]] = {
    "MatMul": _last_of_first,
    "MatMulInteger": _last_of_first,
    "Gemm": _gemm,
    "Conv": _conv,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Einsum": _einsum,
    "Attention": _attention,
}
"""Arithmetic of the operators that do most of it."""


def node_flops(node: Node, facts: Mapping[str, Fact], model: CostModel) -> float:
    """Floating-point operations of one matrix-like node per request; 0 for all others and where sizes are unknown."""
    count = FLOPS.get(node.op)
    output = model.sizes(facts.get(node.output))
    if count is None or node.domain or output is None:
        return 0.0
    inputs = [model.sizes(facts.get(v)) if v else None for v in node.inputs]
    try:
        return count(node, inputs, output)
    except (IndexError, ValueError, KeyError):
        return 0.0


def node_cost(node: Node, facts: Mapping[str, Fact], model: CostModel) -> float:
    """Microseconds per request."""
    if node.op in VIEWS:
        return model.launch_view
    outputs = [(facts.get(v), model.sizes(facts.get(v))) for v in node.outputs if v]
    entries = sum(math.prod(s) for _, s in outputs if s is not None)
    weight = 8.0 if node.op in EXPENSIVE else 1.0
    arithmetic = 0.0 if node.op in FLOPS else weight * entries / model.entries
    if node.op in ("Concat", "Slice", "Split", "Gather", "Transpose", "Expand", "Tile", "Pad"):
        arithmetic = 0.0
    read = sum(math.prod(s) * _width(f) for f, s in _read(node, facts, model, entries) if s is not None)
    written = sum(math.prod(s) * _width(f) for f, s in outputs if s is not None)
    return model.launch + node_flops(node, facts, model) / model.flops + arithmetic + (read + written) / model.moved


def _read(
    node: Node, facts: Mapping[str, Fact], model: CostModel, entries: int
) -> list[tuple[Fact | None, Sizes | None]]:
    read = [(facts.get(v), model.sizes(facts.get(v))) for v in node.inputs if v]
    if node.op in ("Gather", "Slice", "Split", "Expand", "Tile", "GatherND", "GatherElements"):
        return [(fact, (min(math.prod(s), entries),)) for fact, s in read if s is not None]
    return read


def _width(fact: Fact | None) -> int:
    if fact is None or not fact.dtype:
        return 4
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(fact.dtype).itemsize)
    except (KeyError, TypeError):
        return 4
