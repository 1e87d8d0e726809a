"""norm(x; repeat(g)) = norm(x; g)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply, model_of

RULE = "plain-scale"


def normalised(parameters: str, line: str, op: str = "RMSNormalization<axis = -1>", opset: int = 23) -> Outcome:
    text = f"""score (float[B,3,6] item, float[B,3,6] user) => (float[B,3,6] z)
        <float[6] g, int64[1] axis = {{0}}> {{
        shape = Shape(item)
        x = Add(item, user)
        {line}
        y = {op}(x, {parameters})
        z = Neg(y)
    }}"""
    return apply(RULE, model_of(text, opset=opset), exact=False)


def widths(outcome: Outcome) -> list[int]:
    """How many axes the parameters of what is left of the normalisation have."""
    nodes = [n for n in outcome.workspace.graph.nodes if n.op.endswith("Normalization")]
    return [len(outcome.workspace.fact(v).shape or ()) for n in nodes for v in n.inputs[1:]]


@pytest.mark.parametrize(
    "line",
    [
        "s = ConstantOfShape<value = float[1] {1}>(shape)",
        "s = ConstantOfShape<value = float[1] {2.5}>(shape)",
        "t = ConstantOfShape<value = float[1] {3}>(shape) s = Identity(t)",
        "s = Expand(g, shape)",
    ],
)
@pytest.mark.parametrize(("op", "opset"), [("RMSNormalization<axis = -1>", 23), ("LayerNormalization<axis = 2>", 17)])
def test_the_same_for_all_rows(line: str, op: str, opset: int) -> None:
    outcome = normalised("s", line, op, opset)
    assert outcome.times == 1
    assert widths(outcome) == [1]


def test_scale_and_shift() -> None:
    outcome = normalised(
        "s, t",
        "s = ConstantOfShape<value = float[1] {2}>(shape) t = Expand(g, shape)",
        "LayerNormalization",
    )
    assert outcome.times == 1
    assert widths(outcome) == [1, 1]


def test_over_two_axes() -> None:
    outcome = normalised("s", "s = ConstantOfShape<value = float[1] {2}>(shape)", "LayerNormalization<axis = 1>")
    assert outcome.times == 1
    assert widths(outcome) == [2]


@pytest.mark.parametrize(
    "line",
    [
        "s = Abs(user)",
        "s = Abs(item)",
        "s = Identity(g)",
    ],
)
def test_not_what_differs_from_row_to_row(line: str) -> None:
    assert normalised("s", line).times == 0


def test_not_other_numbers_in_each_row() -> None:
    text = """score (float[B,2,3] item, float[B,1,1] user) => (float[B,2,3] z) {
        x = Add(item, user)
        z = LayerNormalization(x, s)
    }"""
    for wide, times in ((np.arange(6).reshape(1, 2, 3), 0), (np.full((1, 2, 3), 4), 1)):
        assert apply(RULE, model_of(text, s=wide.astype(np.float32)), exact=False).times == times
