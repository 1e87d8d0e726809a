"""What a node costs per request, in microseconds of one CPU thread, at a nominal number of candidates.

Arithmetic, bytes moved, the fixed price of starting an operator, and the price of starting over inside one: for each
stretch of a broadcast, each row copied by a Concat, each small matrix of a batched product, each row of a Softmax. The
fixed prices decide in small models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.transfer.elementwise import BROADCASTING
from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.ir.dims import substitute
from mari_onnx.ir.graph import Node
from mari_onnx.ir.orders import order_of
from mari_onnx.rewrite.arithmetic import ATTENTION, FLOPS, MATRICES, Sizes, rearranged_entries, scores
from mari_onnx.rewrite.contractions import from_left


@dataclass(frozen=True)
class CostModel:
    """Prices, rounded from measurements of single operators with ONNX Runtime 1.31 on x86 servers.

    What counts is how they compare.

    Attributes:
        candidates: Nominal number of candidates per request.
        other: Stands for every other symbolic size.
        launch: Microseconds to start any operator.
        launch_view: Microseconds to start one that only renames sizes (Reshape and the like share memory).
        flops: Floating-point operations per microsecond in matrix products.
        matrix: Microseconds for each matrix of a batched product beyond the first.
        packed: Entries of its right operand, per microsecond, that are put in order before.
        entries: Entries per microsecond in elementwise arithmetic.
        stretch: Microseconds for each stretch of entries over which no operand starts to repeat.
        row: Microseconds for each row that is normalised (Softmax, LayerNormalization).
        group: Microseconds for each separate sum over an axis in the middle.
        copy: Microseconds for each contiguous piece that is copied.
        moved: Bytes per microsecond read or written.
    """

    candidates: int = 512
    other: int = 32
    launch: float = 0.6
    launch_view: float = 0.3
    flops: float = 100_000.0
    matrix: float = 0.2
    entries: float = 16_000.0
    stretch: float = 0.02
    row: float = 0.03
    group: float = 0.16
    copy: float = 0.0025
    packed: float = 6_000.0
    moved: float = 50_000.0

    def sizes(self, fact: Fact | None) -> Sizes | None:
        if fact is None or fact.shape is None:
            return None
        return tuple(int(substitute(d, self.candidates, self.other)) for d in fact.shape)


VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size"})

NORMALISING = frozenset({"Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"})
"""Operators that treat each row along the last axes by itself."""

WEIGHTS: Mapping[str, float] = {
    **dict.fromkeys(("Sigmoid", "Tanh", "Swish", "Where"), 5.0),
    "LeakyRelu": 2.0,
    "PRelu": 40.0,
    **dict.fromkeys(("Erf", "Gelu", "Sqrt", "Pow", "Sin", "Cos"), 8.0),
    **dict.fromkeys(("Softplus", "Mish"), 400.0),
    "Log": 50.0,
    "Div": 2.5,
    **dict.fromkeys(("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"), 8.0),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"), 0.5),
    **dict.fromkeys(("ReduceSumSquare", "ReduceL2", "ReduceL1"), 10.0),
}
"""How much longer an entry takes than an addition."""

DEAR_STRETCHES: Mapping[str, float] = {"Where": 2.0}
"""How much longer a stretch takes than in an addition."""

NARROWEST = 16
"""A matrix product takes as long for fewer columns as for so many."""

CONVOLVED = 4.0
"""How much longer the arithmetic of a convolution takes at most, of which each image has few positions."""

IMAGE = 0.5
"""What each group of channels of an image costs, in matrices of a batched product."""


def node_flops(node: Node, facts: Mapping[str, Fact], model: CostModel) -> float:
    """Floating-point operations of one matrix-like node per request; 0 for all others and where sizes are unknown."""
    count = FLOPS.get(node.kind)
    output = model.sizes(facts.get(node.output))
    if count is None or output is None:
        return 0.0
    try:
        return count(node, _input_sizes(node, facts, model), output)
    except (IndexError, ValueError, KeyError):
        return 0.0


def _input_sizes(node: Node, facts: Mapping[str, Fact], model: CostModel) -> list[Sizes | None]:
    return [model.sizes(facts.get(v)) if v else None for v in node.inputs]


def node_cost(node: Node, facts: Mapping[str, Fact], model: CostModel) -> float:
    """Microseconds per request."""
    if node.op in VIEWS:
        return model.launch_view
    if node.op == "Einsum" and len(node.inputs) > 2:
        return _contractions(node, facts, model)
    inputs = _input_sizes(node, facts, model)
    outputs = [model.sizes(facts.get(v)) for v in node.outputs if v]
    output = outputs[0] if outputs and outputs[0] is not None else ()
    cost = model.launch + _moved(node, facts, model, inputs, outputs) / model.moved
    if node.kind in FLOPS:
        return cost + _products(node, facts, model, inputs, output) + _softmax_inside(node, model, inputs)
    if node.op in COPIES:
        return cost + COPIES[node.op](node, inputs, output) * model.copy
    cost += WEIGHTS.get(node.op, 1.0) * math.prod(_largest(inputs, output)) / model.entries
    if node.op in BROADCASTING:
        stretches = _stretches([s for s in inputs if s is not None], output)
        return cost + stretches * model.stretch * DEAR_STRETCHES.get(node.op, 1.0)
    if node.op in NORMALISING:
        return cost + math.prod(output[:-1]) * model.row
    if node.op in GROUPED:
        return cost + math.prod(output) * model.copy + _groups(node, facts, inputs) * model.group
    return cost


def _contractions(node: Node, facts: Mapping[str, Fact], model: CostModel) -> float:
    """What an Einsum of several operands takes: as much as its contractions one by one."""
    shapes = [facts.get(v, Fact()).shape or () for v in node.inputs]
    parsed = einsum_terms(str(node.attrs["equation"]), [len(s) for s in shapes])
    if parsed is None:
        return model.launch
    sizes = {x: d for term, shape in zip(parsed[0], shapes, strict=True) for x, d in zip(term, shape, strict=True)}
    cost, made, known = 0.0, node.inputs[0], {v: facts[v] for v in node.inputs if v in facts}
    for value, step in zip(node.inputs[1:], from_left(*parsed), strict=True):
        pair = Node("Einsum", (made, value), (f"{made}/{value}",), {"equation": step.equation})
        made = pair.output
        known[made] = Fact(shape=tuple(sizes[x] for x in step.made))
        cost += node_cost(pair, known, model)
    return cost


def _softmax_inside(node: Node, model: CostModel, inputs: Sequence[Sizes | None]) -> float:
    if node.kind not in ATTENTION:
        return 0.0
    count, queries, keys = scores(node, inputs)
    return WEIGHTS["Softmax"] * count * queries * keys / model.entries + count * queries * model.row


INTEGERS = frozenset(
    {
        *("MatMulInteger", "QLinearMatMul", "com.microsoft.QGemm"),
        *("com.microsoft.MatMulIntegerToFloat", "com.microsoft.DynamicQuantizeMatMul"),
    }
)
"""Products of integers."""
FASTER = 8.0
"""By what factor those are faster than products of floats, where a processor has instructions for them."""


def _products(
    node: Node, facts: Mapping[str, Fact], model: CostModel, inputs: Sequence[Sizes | None], output: Sizes
) -> float:
    """What the arithmetic of a product takes: small matrices one by one, or one that is wide enough."""
    each = node_flops(node, facts, model) / model.flops / (FASTER if node.kind in INTEGERS else 1.0)
    moved = rearranged_entries(node, inputs, output) * model.copy * REARRANGED if node.op == "Einsum" else 0.0
    matrices = MATRICES[node.kind](node, inputs, output) if node.kind in MATRICES else 1
    if matrices > 1:
        packed = _packed_entries(inputs, output[-2:-1], matrices)
        return moved + each + (matrices - 1) * (model.matrix + packed / model.packed)
    if node.op == "Conv":
        each *= min(CONVOLVED, max(1.0, NARROWEST / max(math.prod(output[2:]), 1)))
        images = math.prod(output[:1]) * int(node.attrs.get("group", 1))
        return each + (images - 1) * model.matrix * IMAGE
    if node.op not in ("MatMul", "Gemm") or not output:
        return moved + each
    fixed = facts.get(node.inputs[1], Fact()).is_constant
    packed = 0.0 if fixed else _packed_entries(inputs, output[:-1], 1)
    return moved + each * max(1.0, NARROWEST / max(output[-1], 1)) + packed / model.packed


def _packed_entries(inputs: Sequence[Sizes | None], rows: Sizes, matrices: int) -> float:
    """Entries of each right operand that are put in order first, which one row does not need.

    Those of a weight are put in order when the model is loaded.
    """
    right = inputs[1] if len(inputs) > 1 else None
    return 0.0 if right is None or math.prod(rows) == 1 else math.prod(right) / matrices


def _largest(inputs: Sequence[Sizes | None], output: Sizes) -> Sizes:
    return max([output, *(s for s in inputs if s is not None)], key=math.prod)


REARRANGED = 0.4
"""What an entry costs that an Einsum puts in another place, in contiguous pieces copied."""


def _stretches(inputs: Sequence[Sizes], output: Sizes) -> int:
    """How often a broadcast starts over: the entries over which the same operands repeat are one stretch.

    Where the last axis has one entry, a single number of lower rank makes ONNX Runtime start over at each.
    """
    if output and output[-1] == 1 and any(math.prod(s) == 1 and len(s) < len(output) for s in inputs):
        return math.prod(output)
    padded = [(1,) * (len(output) - len(s)) + s for s in inputs]
    inner: list[bool] | None = None
    for axis in range(len(output) - 1, -1, -1):
        if output[axis] == 1:
            continue
        repeats = [s[axis] == 1 for s in padded]
        if inner is not None and repeats != inner:
            return math.prod(output[: axis + 1])
        inner = repeats
    return 1


GROUPED = frozenset({"ReduceSum", "ReduceMean"})
"""Reductions that start over for every group when the axis summed over is neither the first nor the last."""


def _groups(node: Node, facts: Mapping[str, Fact], inputs: Sequence[Sizes | None]) -> int:
    given = node.attrs.get("axes")
    if given is None and node.has_input(1):
        given = facts.get(node.inputs[1], Fact()).integers
    sizes = inputs[0]
    if not given or not sizes:
        return 0
    axes = sorted(int(a) % len(sizes) for a in given)
    return 0 if axes[-1] == len(sizes) - 1 or axes[0] == 0 else math.prod(sizes[: axes[0]])


def _joined_pieces(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    axis = int(node.attrs.get("axis", 0)) % max(len(output), 1)
    return len(inputs) * math.prod(output[:axis])


def _repeated_pieces(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    """One piece for each repetition of the innermost block that is not repeated."""
    source = inputs[0] or ()
    padded = (1,) * (len(output) - len(source)) + source
    last = max((i for i, (a, b) in enumerate(zip(padded, output, strict=False)) if a != b), default=0)
    return math.prod(output[: last + 1])


def _looked_up_pieces(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    indices = inputs[1] if len(inputs) > 1 and inputs[1] is not None else ()
    return math.prod(indices) * math.prod(output[: int(node.attrs.get("axis", 0))])


def _cut_pieces(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    return len(node.outputs) * math.prod(output[:-1])


def _transposed_pieces(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    """Rows, each as dear as several pieces, where the last axis stays the last one; else entries, moved in blocks.

    ONNX Runtime reads in order, and has less to do, where a single axis moves behind others.
    """
    last = len(output) - 1
    order = order_of(node, len(output))
    if not order or order[-1] != last:
        return math.prod(output) // 16
    source = inputs[0] or ()
    moved = [axis for axis in order if len(source) > last and source[axis] > 1]
    rows = math.prod(output[:-1])
    return 3 * rows // 2 if _goes_inwards(moved) else 6 * rows


def _goes_inwards(order: Sequence[int]) -> bool:
    """Whether one axis goes behind at least two others, which stay in their order; a swap is done the other way."""
    rank = {axis: place for place, axis in enumerate(sorted(order))}
    steps = [place - rank[axis] for place, axis in enumerate(order) if place != rank[axis]]
    return len(steps) > 2 and steps.count(-1) == len(steps) - 1


def _moved_entries(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    return math.prod(output) // 8


COPIES: Mapping[str, Callable[[Node, Sequence[Sizes | None], Sizes], int]] = {
    "Concat": _joined_pieces,
    "Expand": _repeated_pieces,
    "Tile": _repeated_pieces,
    "Gather": _looked_up_pieces,
    "Slice": _cut_pieces,
    "Split": _cut_pieces,
    "Pad": _cut_pieces,
    "Transpose": _transposed_pieces,
    "GatherND": _moved_entries,
    "GatherElements": _moved_entries,
}
"""In how many pieces an operator that only moves entries moves them."""

REPEATING = frozenset({"Expand", "Tile"})
"""Operators that read much less than they write."""


def _moved(
    node: Node,
    facts: Mapping[str, Fact],
    model: CostModel,
    inputs: Sequence[Sizes | None],
    outputs: Sequence[Sizes | None],
) -> float:
    """Bytes read and written; of a table, only the rows that are looked up."""
    written = sum(
        math.prod(s) * width(facts.get(v))
        for v, s in zip([v for v in node.outputs if v], outputs, strict=True)
        if s is not None
    )
    read = sum(
        math.prod(s) * width(facts.get(v)) for v, s in zip(node.inputs, inputs, strict=True) if v and s is not None
    )
    if node.op in REPEATING:
        return written
    return 2 * written if node.op in COPIES else read + written


def width(fact: Fact | None) -> int:
    """Bytes of an entry; 4 where the type is not known."""
    if fact is None or not fact.dtype:
        return 4
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(fact.dtype).itemsize)
    except (KeyError, TypeError):
        return 4
