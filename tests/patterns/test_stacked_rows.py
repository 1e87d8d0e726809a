"""f([x; y]) = rows(f(stack(x, y)))."""

from __future__ import annotations

from typing import Any

import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.rivals import rewrite_best
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "stacked-rows"

SLICES = """
    first = Slice(f, zero, b, zero)
    two_b = Add(b, b)
    more = Add(b, one_axis)
    second = Slice(f, b, two_b, zero)
"""
SPLIT = "first, second = Split <axis: int = 0> (f)"


def heads(layers: str, ends: str = SLICES, *, join: str = "Concat <axis = 0> (one, other)", **settings: Any) -> Outcome:
    """The rule on layers that turn ``r [2 B, 3, 4]``, two pieces one behind the other, into ``f [2 B, 3, k]``."""
    return apply(
        RULE,
        f"""score (float[B,3,8] item, float[B,5,8] user, bool[B,3] item_seen) => (float[?,?,?] y) {{
            zero = Constant <value_ints = [0]> ()
            two = Constant <value_ints = [2]> ()
            one_axis = Constant <value_ints = [1]> ()
            sizes = Shape(item)
            b = Slice(sizes, zero, one_axis, zero)
            one, other = Split <axis: int = 2> (item)
            r = {join}
            {layers}
            {ends}
            y = Concat <axis = 2> (first, second)
        }}""",
        **settings,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [SLICES, SPLIT])
@pytest.mark.parametrize(
    "layers",
    [
        "f = Relu(r)",
        "f = Softmax <axis = -1> (r)",
        "t = Transpose <perm = [0, 2, 1]> (r) f = MatMul(r, t)",
        "s = ReduceSum <keepdims = 1> (r, two) f = Mul(r, s)",
        "u = Unsqueeze(r, one_axis) e = Exp(u) f = Squeeze(e, one_axis)",
    ],
)
def test_stacked(layers: str, ends: str) -> None:
    outcome = heads(layers, ends)
    assert outcome.times == 1
    assert outcome.ops["Concat"] == 2
    [stacked] = [node for node in outcome.of("Concat") if node.attribute[0].i == 0 and node.output[0] != "y"]
    assert outcome.size_of(stacked.output[0])[0] == 2
    assert len(outcome.size_of(stacked.output[0])) == 4


def test_a_mask_that_is_tiled() -> None:
    outcome = heads(
        """
        times = Constant <value_ints = [2, 1]> ()
        masks = Tile(item_seen, times)
        wide = Unsqueeze(masks, two)
        none = Constant <value_float = -9.0> ()
        f = Where(wide, none, r)
        """
    )
    assert outcome.times == 1


def test_a_piece_that_nobody_reads() -> None:
    assert heads("f = Relu(r)", join="Concat <axis = 0> (one, other, one)").times == 1


def test_keys_of_the_user_are_read_once() -> None:
    """With what makes use of it: there is no other way to keep the keys from being repeated."""
    text = f"""score (float[B,3,8] item, float[B,50,8] user) => (float[?,?,?] y) {{
        zero = Constant <value_ints = [0]> ()
        one_axis = Constant <value_ints = [1]> ()
        sizes = Shape(item)
        b = Slice(sizes, zero, one_axis, zero)
        q1, q2 = Split <axis: int = 2> (item)
        q = Concat <axis = 0> (q1, q2)
        k1, k2 = Split <axis: int = 2> (user)
        k = Concat <axis = 0> (k1, k2)
        t = Transpose <perm = [0, 2, 1]> (k)
        s = MatMul(q, t)
        p = Softmax <axis = -1> (s)
        f = MatMul(p, k)
        {SLICES}
        y = Concat <axis = 2> (first, second)
    }}"""
    model = model_of(text)
    workspace, record = rewrite_best(lambda: at_work(model, sides_of(model)), RULES, CostModel())
    assert RULE in [applied.rule for applied in record.applied]
    assert not [node for node in workspace.graph.nodes if node.op == "Expand"]


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "ends"),
    [
        ("f = CumSum(r, zero)", SLICES),
        ("f = Softmax <axis = 0> (r)", SLICES),
        ("f = Identity(r)", SLICES),
        # Not whole pieces: every second row, or from the second on.
        ("f = Relu(r)", SLICES.replace("(f, b, two_b, zero)", "(f, zero, two_b, zero, two)")),
        ("f = Relu(r)", SLICES.replace("Slice(f, b, two_b, zero)", "Slice(f, one_axis, more, zero)")),
        # Read by something else, too.
        ("f = Relu(r)", SLICES.replace("first = Slice", "part = Slice") + "m = ReduceMax(f) first = Add(part, m)"),
    ],
)
def test_not_otherwise(layers: str, ends: str) -> None:
    assert heads(layers, ends).times == 0


def test_what_is_an_output_stays() -> None:
    text = """score (float[B,4] item) => (float[B,4] y, float[?,4] f) {
        zero = Constant <value_ints = [0]> ()
        r = Concat <axis = 0> (item, item)
        f = Relu(r)
        y, rest = Split <axis: int = 0> (f)
    }"""
    assert apply(RULE, text).times == 0
