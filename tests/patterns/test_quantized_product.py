"""Q([u, i]) W = Q(u) W_u + Q(i) W_i, in integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.patterns.support import apply

RULE = "quantized-product"
WEIGHTS = {
    "sx": np.float32(0.020371),
    "zx": np.uint8(120),
    "sw": np.float32(0.010937),
    "zw": np.int8(0),
    "sy": np.float32(0.051413),
    "zy": np.uint8(128),
}
DECLARED = "<int8[24,8] w, float sx, uint8 zx, float sw, int8 zw, float sy, uint8 zy>"
ROUNDED = """score (float[B,16] user, float[B,8] item) => (float[B,8] y) {declared} {{
    x = Concat<axis = 1>(user, item)
    xq = QuantizeLinear(x, sx, zx)
    xd = DequantizeLinear(xq, sx, zx)
    wd = DequantizeLinear(w, sw, zw)
    m = MatMul(xd, wd)
    {rest}
}}"""
AGAIN = "mq = QuantizeLinear(m, sy, zy) y = DequantizeLinear(mq, sy, zy)"


def weights(**others: object) -> dict[str, object]:
    random = np.random.default_rng(0)
    return {**WEIGHTS, "w": random.integers(-127, 128, (24, 8)).astype(np.int8), **others}


WIDE = ROUNDED.replace("[B,16]", "[B,256]")
WIDELY = DECLARED.replace("int8[24,8]", "int8[264,8]")


def wide(**others: object) -> dict[str, object]:
    """For rows of so many columns of the user that the halves may be added up in steps."""
    random = np.random.default_rng(0)
    return weights(w=random.integers(-127, 128, (264, 8)).astype(np.int8), **others)


@pytest.mark.parametrize("rest", [AGAIN, "y = Relu(m)", "n = Neg(m) mq = QuantizeLinear(m, sy, zy) y = Add(n, m)"])
def test_integers_are_multiplied_in_halves(rest: str) -> None:
    outcome = apply(RULE, ROUNDED.format(declared=DECLARED, rest=rest), exact=rest is AGAIN, **weights())
    assert outcome.times == 1
    assert outcome.ops["MatMulInteger"] == outcome.ops["Gemm"] == 1
    assert "MatMul" not in outcome.ops


@pytest.mark.parametrize("zero", [0, 3])
def test_a_scale_for_each_column_stays_with_it(zero: int) -> None:
    declared = DECLARED.replace("float sw, int8 zw", "float[8] sw, int8[8] zw")
    text = ROUNDED.replace("DequantizeLinear(w,", "DequantizeLinear<axis = 1>(w,")
    scales = np.linspace(0.005, 0.02, 8, dtype=np.float32)
    given = weights(sw=scales, zw=np.full(8, zero, np.int8))
    outcome = apply(RULE, text.format(declared=declared, rest=AGAIN), **given)
    assert outcome.times == 1
    (user_half,) = outcome.of("MatMulInteger")
    assert outcome.workspace.facts[user_half.output[0]].shape == (1, 8)


def test_an_integer_bias_joins_the_user_half() -> None:
    text = """score (float[B,16] user, float[B,8] item) => (float[B,8] y)
    <int8[8,24] w, int32[8] b, float sb, int32 zb, float sx, uint8 zx, float sw, int8 zw, float sy, uint8 zy> {
        x = Concat<axis = 1>(user, item)
        xq = QuantizeLinear(x, sx, zx)
        xd = DequantizeLinear(xq, sx, zx)
        wd = DequantizeLinear(w, sw, zw)
        bd = DequantizeLinear(b, sb, zb)
        m = Gemm<transB = 1>(xd, wd, bd)
        mq = QuantizeLinear(m, sy, zy)
        y = DequantizeLinear(mq, sy, zy)
    }"""
    given = weights(
        w=np.random.default_rng(0).integers(-127, 128, (8, 24)).astype(np.int8),
        b=np.arange(-400, 400, 100, dtype=np.int32),
        sb=np.float32(WEIGHTS["sx"]) * np.float32(WEIGHTS["sw"]),
        zb=np.int32(0),
    )
    outcome = apply(RULE, text, **given)
    assert outcome.times == 1
    assert outcome.ops["MatMulInteger"] == outcome.ops["Gemm"] == 1


def test_integers_that_are_joined_already() -> None:
    text = """score (uint8[B,16] user, uint8[B,8] item) => (float[B,8] y) {declared} {{
        x = Concat<axis = 1>(user, item)
        xd = DequantizeLinear(x, sx, zx)
        wd = DequantizeLinear(w, sw, zw)
        y = MatMul(xd, wd)
    }}"""
    outcome = apply(RULE, text.format(declared=DECLARED), exact=False, **weights())
    assert outcome.times == 1
    assert outcome.ops == {"MatMulInteger": 1, "DequantizeLinear": 3, "Gemm": 1}


@pytest.mark.parametrize("rest", [AGAIN, "y = Relu(m)"])
def test_rows_of_tokens(rest: str) -> None:
    """There is no integer bias for them."""
    text = WIDE.replace("[B,", "[B,2,").replace("axis = 1", "axis = 2").format(declared=WIDELY, rest=rest)
    outcome = apply(RULE, text, exact=rest is AGAIN, **wide())
    assert outcome.times == 1
    assert outcome.ops["MatMulInteger"] == 2
    few = ROUNDED.replace("[B,", "[B,2,").replace("axis = 1", "axis = 2").format(declared=DECLARED, rest=rest)
    assert apply(RULE, few, exact=rest is AGAIN, **weights()).times == 0


def test_what_is_rounded_twice_stays_so() -> None:
    """ONNX Runtime makes one rounding of two that follow each other, unless there is a Concat in between."""
    text = ROUNDED.format(declared=DECLARED, rest=AGAIN).replace(
        "x = Concat<axis = 1>(user, item)",
        "iq = QuantizeLinear(item, sy, zx) id = DequantizeLinear(iq, sy, zx) x = Concat<axis = 1>(user, id)",
    )
    outcome = apply(RULE, text, **weights())
    assert outcome.times == 1
    (joined,) = outcome.of("Concat")
    assert len(joined.input) == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "others"),
    [
        # A scale for each row of the weight belongs to the items' columns and the user's.
        ("float sw, int8 zw", "float[24] sw, int8[24] zw", {"sw": np.full(24, 0.01), "zw": np.zeros(24)}),
        # Floats in between would be rounded otherwise than integers are.
        ("int8[24,8] w", "int32[24,8] w", {"w": np.ones((24, 8)), "zw": np.int32(0)}),
    ],
)
def test_what_is_no_product_of_integers(old: str, new: str, others: dict[str, np.ndarray]) -> None:
    declared = DECLARED.replace(old, new)
    if "int32" in new:
        declared = declared.replace("int8 zw", "int32 zw")
    kinds = {"sw": np.float32, "zw": np.int32 if "int32" in new else np.int8, "w": np.int32}
    given = weights(**{k: np.asarray(v).astype(kinds[k]) for k, v in others.items()})
    axis = "<axis = 0>" if "[24]" in new else ""
    text = ROUNDED.replace("DequantizeLinear(w,", f"DequantizeLinear{axis}(w,")
    assert apply(RULE, text.format(declared=declared, rest="y = Relu(m)"), exact=False, **given).times == 0


def test_a_user_that_is_alone_needs_no_halves() -> None:
    text = ROUNDED.replace("Concat<axis = 1>(user, item)", "Concat<axis = 1>(item, item, item)")
    assert apply(RULE, text.format(declared=DECLARED, rest=AGAIN), **weights()).times == 0


@pytest.mark.parametrize("zero", [0, -7, 127, -128])
def test_signed_integers_are_multiplied_as_unsigned_ones(zero: int) -> None:
    """ONNX Runtime is many times faster at those; results are the same to the last bit."""
    declared = WIDELY.replace("uint8 zx", "int8 zx")
    given = wide(zx=np.int8(zero))
    outcome = apply(RULE, WIDE.format(declared=declared, rest=AGAIN), exact=True, **given)
    assert outcome.times == 1
    facts = outcome.workspace.facts
    products = outcome.of("MatMulInteger")
    assert {facts[n.input[0]].dtype for n in products} == {onnx.TensorProto.UINT8}
    assert {int(outcome.workspace.graph.constant(n.input[2])) for n in products} == {zero + 128}


def test_signed_integers_that_are_there_stay_what_they_are() -> None:
    text = """score (int8[B,16] user, int8[B,8] item) => (float[B,8] y)
    <int8[24,8] w, float sx, int8 zx, float sw, int8 zw> {
        x = Concat<axis = 1>(user, item) xd = DequantizeLinear(x, sx, zx) wd = DequantizeLinear(w, sw, zw)
        y = MatMul(xd, wd)
    }"""
    given = {k: v for k, v in weights(zx=np.int8(3)).items() if k not in ("sy", "zy")}
    assert apply(RULE, text, **given).times == 0
    assert (
        apply(
            RULE,
            text.replace("int8[B", "uint8[B").replace("int8 zx", "uint8 zx"),
            exact=False,
            **{**given, "zx": np.uint8(3)},
        ).times
        == 1
    )
