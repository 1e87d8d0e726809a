"""Matrix products, Einsum, convolutions, pooling."""

from __future__ import annotations

import re
from dataclasses import replace

from mari_onnx.analysis.facts import CandidateAxis, Fact
from mari_onnx.analysis.transfer.call import TWO_AXES, UNKNOWN_RANK, Call, Claim, Lane, Opaque, Table
from mari_onnx.ir.dims import same

SUMS_CANDIDATES = "sums over the candidates"


def matmul(call: Call) -> Claim:
    left, right = call.fact(0), call.fact(1)
    if left.rank is None or right.rank is None:
        return call.opaque(UNKNOWN_RANK)
    if any(f.shape not in ((), (1,)) and not _is_by_column(i, f, right) for i, f in call.given() if i > 1):
        return call.opaque("its zero points are neither one per tensor nor one per column of a weight")
    parameters = call.only([0, 1], "a zero point")
    if parameters:
        return parameters
    if left.axis is not None and left.axis.index == left.rank - 1:
        return call.opaque(SUMS_CANDIDATES)
    if right.axis is not None and right.axis.index == max(right.rank - 2, 0):
        return call.opaque(SUMS_CANDIDATES)
    if left.rank < 2 or right.rank < 2:
        return _matmul_with_vector(call, left, right)
    rank = max(left.rank, right.rank)
    rows = left.axis is not None and left.axis.index == left.rank - 2
    columns = right.axis is not None and right.axis.index == right.rank - 1
    if rows and left.axis is not None:
        return call.opaque(TWO_AXES) if right.axis is not None else call.moved(left.axis.at(rank - 2))
    if columns and right.axis is not None:
        return call.opaque(TWO_AXES) if left.axis is not None else call.moved(right.axis.at(rank - 1))
    return _batched(call, (left, right), rank)


def _is_by_column(index: int, zero: Fact, right: Fact) -> bool:
    """Whether the input of MatMulInteger is a zero point for each column of a right operand without candidates."""
    return index == 3 and zero.rank == 1 and right.axis is None


def _batched(call: Call, operands: tuple[Fact, Fact], rank: int) -> Claim:
    """Candidates on the batch axes of a product, which broadcast."""
    found: CandidateAxis | None = None
    for fact in operands:
        if fact.axis is not None:
            axis = fact.axis.at(fact.axis.index + rank - (fact.rank or 0))
            if found is not None and axis != found:
                return call.opaque(TWO_AXES)
            found = axis
    if found is None:
        return call.opaque(UNKNOWN_RANK)
    for fact in operands:
        index = found.index - (rank - (fact.rank or 0))
        if fact.axis is None and index >= 0 and fact.shape is not None and not same(fact.shape[index], 1):
            return call.opaque("an operand without candidate axis may have one entry per candidate")
    return call.moved(found)


def _matmul_with_vector(call: Call, left: Fact, right: Fact) -> Claim:
    if left.rank == 1 and right.axis is not None and right.rank is not None:
        index = right.axis.index
        return call.moved(right.axis.at(index if index < right.rank - 2 else index - 1))
    return call.moved(left.axis) if left.axis is not None else call.opaque(UNKNOWN_RANK)


def gemm(call: Call) -> Claim:
    left, right, bias = call.fact(0), call.fact(1), call.fact(2)
    found: CandidateAxis | None = None
    if left.axis is not None:
        if left.axis.index != int(bool(call.attr("transA", 0))):
            return call.opaque(SUMS_CANDIDATES)
        found = left.axis.at(0)
    if right.axis is not None:
        if right.axis.index != int(not call.attr("transB", 0)):
            return call.opaque(SUMS_CANDIDATES)
        if found is not None:
            return call.opaque(TWO_AXES)
        found = right.axis.at(1)
    if len(call.inputs) < 3 or call.inputs[2] is None:
        return call.moved(found)
    if bias.shape is None:
        return call.opaque(UNKNOWN_RANK)
    if bias.axis is not None:
        axis = bias.axis.at(bias.axis.index + 2 - len(bias.shape))
        return call.opaque(TWO_AXES) if found is None or axis != found else call.moved(found)
    if found is None:
        return call.opaque(UNKNOWN_RANK)
    index = found.index - (2 - len(bias.shape))
    if index >= 0 and not same(bias.shape[index], 1):
        if call.batch is None or not same(bias.shape[index], found.single * call.batch):
            return call.opaque("its bias may have one entry per candidate")
        return call.all_outputs(Lane(found, varies=True))
    return call.moved(found)


def einsum_terms(equation: str, ranks: list[int]) -> tuple[list[str], str] | None:
    """The letters of each operand and of the result, an ellipsis spelled out in capitals that no one uses."""
    equation = equation.replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        return None
    spare = [chr(c) for c in range(0x3B1, 0x3B1 + 24)]
    widest = max((r - len(t.replace("...", "")) for t, r in zip(terms, ranks, strict=True) if "..." in t), default=0)
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        hidden = rank - len(term.replace("...", ""))
        if hidden < 0 or (hidden and "..." not in term):
            return None
        spelled.append(term.replace("...", "".join(spare[widest - hidden : widest])))
    if not arrow:
        letters = "".join(spelled)
        once = sorted(c for c in set(re.sub(r"[^a-zA-Z]", "", letters)) if letters.count(c) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    return spelled, result.replace("...", "".join(spare[:widest]))


def einsum(call: Call) -> Claim:
    facts = [f for _, f in call.given()]
    if any(f.rank is None for f in facts):
        return call.opaque(UNKNOWN_RANK)
    parsed = einsum_terms(str(call.attr("equation", "")), [f.rank or 0 for f in facts])
    if parsed is None:
        return call.opaque("its equation could not be read")
    terms, result = parsed
    found = {(t[f.axis.index], f.axis.at(0)) for t, f in zip(terms, facts, strict=True) if f.axis is not None}
    if len(found) != 1:
        return call.opaque(TWO_AXES)
    letter, axis = found.pop()
    for term, fact in zip(terms, facts, strict=True):
        if term.count(letter) > 1 or (letter in term and fact.axis is None):
            return call.opaque("an operand without candidate axis may have one entry per candidate")
    if result.count(letter) != 1:
        return call.opaque(SUMS_CANDIDATES)
    return call.moved(axis.at(result.index(letter)))


def quantized_matmul(call: Call) -> Claim:
    """QLinearMatMul: the operands are inputs 0 and 3, scales and zero points one per tensor."""
    parameters = [f for i, f in call.given() if i not in (0, 3)]
    if any(f.axis is not None or f.shape not in ((), (1,)) for f in parameters):
        return call.opaque("its scales are not one per tensor")
    return matmul(replace(call, inputs=(call.inputs[0], call.inputs[3])))


def determinant(call: Call) -> Claim:
    axis, rank = call.axis(0), call.fact(0).rank
    if axis is None or rank is None or axis.index >= rank - 2:
        return call.opaque("the candidates are rows or columns of its matrix")
    return call.moved(axis)


def per_sample(call: Call) -> Claim:
    """Convolution and pooling: each entry of axis 0 is treated alone, weights are common."""
    axis = call.axis(0)
    if axis is None or axis.index != 0:
        return call.opaque("its samples are not the candidates")
    return call.only([0], "a weight") or call.moved(axis)


def pooling_with_indices(call: Call) -> Claim:
    """Indices count through the whole batch, so those of one sample depend on its place."""
    claim = per_sample(call)
    if len(claim.outputs) > 1:
        return Claim((claim.outputs[0], Opaque("its indices count through all candidates")))
    return claim


def grid_sample(call: Call) -> Claim:
    axis = call.axis(0)
    if axis is None or axis.index != 0 or call.axis(1) != axis:
        return call.opaque("its samples are not the candidates")
    return call.moved(axis)


TABLE: Table = {
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "QLinearMatMul": quantized_matmul,
    "Det": determinant,
    "Gemm": gemm,
    "Einsum": einsum,
    **dict.fromkeys(
        (
            "Conv",
            "ConvInteger",
            "ConvTranspose",
            "QLinearConv",
            "AveragePool",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "GlobalLpPool",
            "LpPool",
        ),
        per_sample,
    ),
    "MaxPool": pooling_with_indices,
    "GridSample": grid_sample,
}
