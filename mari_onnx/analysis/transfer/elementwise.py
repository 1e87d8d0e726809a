"""Operators that work entry by entry, with multidirectional broadcasting."""

from __future__ import annotations

from mari_onnx.analysis.facts import CandidateAxis, Fact
from mari_onnx.analysis.transfer.call import TWO_AXES, UNKNOWN_RANK, Call, Claim, Lane, Table
from mari_onnx.ir.dims import same

UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitCast BitwiseNot Cast Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid
    HardSwish IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal RegexFullMatch Relu
    Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Swish Tan Tanh ThresholdedRelu Identity
""".split()

BROADCASTING = """
    Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min
    Mod Mul Or PRelu Pow StringConcat Sub Sum Where Xor Clip
""".split()


def aligned(call: Call, indices: list[int]) -> Lane | str:
    """The candidate axis of inputs that are broadcast together, or why there is none."""
    facts: list[Fact] = [call.fact(i) for i in indices]
    if any(f.shape is None for f in facts):
        return UNKNOWN_RANK
    rank = max(len(f.shape or ()) for f in facts)
    found: CandidateAxis | None = None
    for fact in facts:
        if fact.axis is not None:
            axis = fact.axis.at(fact.axis.index + rank - len(fact.shape or ()))
            found = axis if found is None else found.common(axis)
            if found is None:
                return TWO_AXES
    if found is None:
        return Lane(None)
    varies = False
    for fact in facts:
        index = found.index - (rank - len(fact.shape or ()))
        if fact.axis is not None or index < 0 or fact.shape is None or same(fact.shape[index], 1):
            continue
        if call.batch is None or not same(fact.shape[index], found.single * call.batch):
            return "an input without candidate axis may have as many entries as there are candidates"
        varies = True  # a constant with one entry per candidate
    return Lane(found, varies)


def broadcasting(call: Call) -> Claim:
    answer = aligned(call, [i for i, _ in call.given()])
    return call.opaque(answer) if isinstance(answer, str) else call.all_outputs(answer)


def unary(call: Call) -> Claim:
    return call.only([0], "a parameter") or call.moved(call.axis(0))


def of_one_shape(call: Call) -> Claim:
    """Entry by entry, but without broadcasting: the inputs have to have their candidates in common."""
    if len({f.axis for _, f in call.given()}) > 1:
        return call.opaque(TWO_AXES)
    return broadcasting(call)


def cast_like(call: Call) -> Claim:
    """Only the type of the second input matters."""
    return call.moved(call.axis(0))


def dropout(call: Call) -> Claim:
    training = call.content(2)
    if len(call.inputs) > 2 and call.inputs[2] is not None and (training is None or training.items != (False,)):
        return call.opaque("dropout in training mode draws its own numbers for each row")
    return call.only([0], "a parameter") or call.moved(call.axis(0))


TABLE: Table = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BROADCASTING, broadcasting),
    "CastLike": cast_like,
    "Dropout": dropout,
    "SwiGLU": of_one_shape,
}
