"""How much arithmetic operators do, and in how many matrices: counted from the sizes of what they read and write."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.ir.graph import Node
from mari_onnx.rewrite.contractions import from_left

Sizes = tuple[int, ...]

SELF_ATTENTION = ("com.microsoft.Attention", "com.microsoft.QAttention")
ATTENTION = ("Attention", "com.microsoft.MultiHeadAttention", *SELF_ATTENTION)


def _matmul(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
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
    known = [sizes for sizes in inputs if sizes is not None]
    parsed = einsum_terms(str(node.attrs["equation"]), [len(sizes) for sizes in known])
    if parsed is None:
        return 0.0
    letters: dict[str, int] = {}
    for term, sizes in zip(parsed[0], known, strict=True):
        for letter, size in zip(term, sizes, strict=True):
            letters[letter] = max(letters.get(letter, 1), size)
    return sum(2.0 * math.prod(letters[x] for x in {*step.left, *step.right}) for step in from_left(*parsed))


def _attention(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    query, key = inputs[0] or (1, 1), inputs[1] or (1, 1)
    return 2.0 * (math.prod(query) + math.prod(output)) * key[-2]


def _self_attention(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    """The projection of the rows, and what they find in each other."""
    rows, weight = inputs[0] or (1, 1, 1), inputs[1] or (1, 1)
    width = (weight[-1] - output[-1]) / 2
    return 2.0 * (math.prod(rows) * weight[-1] + math.prod(rows[:2]) * rows[1] * (width + output[-1]))


def scores(node: Node, inputs: Sequence[Sizes | None]) -> tuple[int, int, int]:
    """How many products of queries with keys attention has, one for each head, and the sizes of each."""
    query, *others = inputs
    key = others[0] if others else None
    if query is None or len(query) < 3:
        return 1, 1, 1
    heads = int(node.attrs.get("num_heads", node.attrs.get("q_num_heads", 1)))
    if len(query) == 5 or key is None or node.kind in SELF_ATTENTION:
        return query[0] * heads, query[1], query[1]  # of queries, keys and values that lie together
    keys = key[1] if len(key) == 5 else key[-2] if len(key) > 1 else 1
    return query[0] * (query[1] if len(query) == 4 else heads), query[-2], keys


def _attention_matrices(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    """Two products for each sample and head."""
    return 2 * scores(node, inputs)[0]


def _linear_model(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> float:
    """A product with the weight among the attributes."""
    return 2.0 * (inputs[0] or (1,))[0] * len(node.attrs.get("coefficients") or ())


FLOPS: Mapping[str, Callable[[Node, Sequence[Sizes | None], Sizes], float]] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "com.microsoft.DynamicQuantizeLSTM": _recurrent,
    "Einsum": _einsum,
    "Attention": _attention,
    "com.microsoft.MultiHeadAttention": _attention,
    **dict.fromkeys(SELF_ATTENTION, _self_attention),
    "com.microsoft.DynamicQuantizeMatMul": _matmul,
    "com.microsoft.MatMulIntegerToFloat": _matmul,
    "com.microsoft.MatMulNBits": _matmul,
    "QLinearMatMul": _matmul,
    "com.microsoft.QGemm": _gemm,
    **dict.fromkeys(("ai.onnx.ml.LinearRegressor", "ai.onnx.ml.LinearClassifier"), _linear_model),
}
"""Arithmetic of the operators that do most of it."""


def _matmul_matrices(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    """How many products a MatMul runs: one where the right operand is a single matrix."""
    right = inputs[1] if len(inputs) > 1 else None
    if right is None or math.prod(right[:-2]) == 1:
        return 1
    return math.prod(output[:-2])


def rearranged_entries(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    """Entries of operands and result that are not in the order of a batched product: axes of both, left, right."""
    left, _, result = str(node.attrs["equation"]).replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != 2 or "." in left:
        return 0
    first, second = terms
    both = [a for a in first if a in second and a in result]
    summed = [a for a in first if a in second and a not in result]
    own, other = [a for a in first if a not in second], [a for a in second if a not in first]
    orders = ((first, [*both, *own, *summed]), (second, [*both, *summed, *other]), (result, [*both, *own, *other]))
    sizes = [*(s or () for s in inputs), output]
    return sum(math.prod(s) for (term, order), s in zip(orders, sizes, strict=True) if list(term) != order)


def _einsum_matrices(node: Node, inputs: Sequence[Sizes | None], output: Sizes) -> int:
    """One product for each combination of what both operands and the result have in common."""
    left, _, result = str(node.attrs["equation"]).replace(" ", "").partition("->")
    terms = left.split(",")
    sizes = dict(zip(result, output, strict=False))
    if len(terms) != 2 or "." in left:
        return 1
    return math.prod(size for letter, size in sizes.items() if letter in terms[0] and letter in terms[1])


MATRICES: Mapping[str, Callable[[Node, Sequence[Sizes | None], Sizes], int]] = {
    "MatMul": _matmul_matrices,
    "Einsum": _einsum_matrices,
    **dict.fromkeys(ATTENTION, _attention_matrices),
}
"""Operators that run a product for each of many small matrices."""
