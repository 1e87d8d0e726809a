"""What constants say of the entries of a value is true of every request."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns._entries import LOW, MASKED, NUMBER, PLAIN, UNKNOWN, WILD, Entries
from mari_onnx.patterns._knowledge import Knowledge
from tests.patterns.support import at_work, model_of, requests, session, sides_of, typed

F32 = np.float32
T = 3
"""Tokens."""

TRIANGLE = np.tril(np.ones((T, T), F32))
WEIGHTS = {
    "m": TRIANGLE,
    "keep": TRIANGLE != 0,
    "hide": np.where(TRIANGLE != 0, F32(0), F32(-1e9)),
    "never": np.where(TRIANGLE != 0, F32(0), -F32(np.inf)),
    "zero": np.array(0, F32),
    "two": np.array(2, F32),
    "far": np.array(-1e9, F32),
    "huge": np.array(1e9, F32),
    "order": np.array([2, 0, 1]),
    "lows": np.array([-1e9], F32),
    "column": np.ones((T, 1), F32),
}
INPUTS = {
    "user": ("float", ("B", T, 2)),
    "item": ("float", ("B", T, 2)),
    "user_bias": ("float", ("B", T, T)),
    "user_seen": ("bool", ("B", 1, T)),
    "item_seen": ("bool", ("B", T, T)),
}


def model_with(body: str, *, opset: int = 17) -> onnx.ModelProto:
    declared = ", ".join(f"{typed(kind, shape)} {name}" for name, (kind, shape) in INPUTS.items())
    kinds = {name: {"f": "float", "b": "bool", "i": "int64"}[w.dtype.kind] for name, w in WEIGHTS.items()}
    weights = ", ".join(f"{typed(kinds[name], w.shape)} {name}" for name, w in WEIGHTS.items())
    return model_of(
        f"""score ({declared}) => (float[B,{T},{T}] y) <{weights}> {{
            t = Transpose<perm = [0, 2, 1]>(item)
            s = MatMul(user, t)
            {body}
        }}""",
        opset=opset,
        **WEIGHTS,
    )


def known(body: str, *, opset: int = 17) -> Entries:
    """What is known of ``y``; every known number is compared with what ONNX Runtime computes."""
    model = model_with(body, opset=opset)
    inputs = sides_of(model)
    workspace = at_work(model, inputs)
    found = Knowledge(workspace).of("y").to_rank(3)
    assert np.array_equal(Knowledge(workspace).zeros("y").any(), found.zeros.any()), "a glance sees less, or more"
    one = session(model)
    names = {value.name for value in model.graph.input}
    for seed in range(4):
        full, _ = requests(model, inputs, 2, seed)
        y = one.run(None, {k: v for k, v in full.items() if k in names})[0]
        states, numbers = (np.broadcast_to(x, y.shape) for x in (found.state, found.number))
        claimed = states == NUMBER
        # A row of a Softmax that is masked throughout is undefined, and stays so.
        claimed &= ~np.isnan(y)
        np.testing.assert_array_equal(y[claimed], numbers[claimed].astype(y.dtype))
        assert np.all(np.abs(y[states == PLAIN]) < 1e6)
        assert np.all(y[states == MASKED] < -1e7)
    return found


UPPER = np.triu_indices(T, 1)
LOWER = np.tril_indices(T)


def upper(found: Entries) -> set[int]:
    """The states above the diagonal."""
    return set(np.broadcast_to(found.state, (1, T, T))[0][UPPER].tolist())


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("y = Mul(s, m)", NUMBER),
        ("y = Mul(m, user_bias)", UNKNOWN),  # an input may be infinite
        ("y = Where(keep, s, zero)", NUMBER),
        ("c = And(keep, item_seen) y = Where(c, s, zero)", NUMBER),
        ("c = And(user_seen, item_seen) y = Where(c, s, zero)", PLAIN + 99),
        ("h = Not(keep) c = Or(h, user_seen) y = Where(c, far, s)", NUMBER),
        ("c = Or(keep, user_seen) y = Where(c, far, s)", LOW),
        ("y = Add(s, hide)", MASKED),
        ("y = Add(s, never)", NUMBER),
        ("y = Add(user_bias, hide)", UNKNOWN),
        ("y = Add(user_bias, never)", UNKNOWN),
        ("a = Where(user_seen, s, far) y = Add(a, hide)", MASKED),
        ("a = Where(user_seen, s, huge) y = Add(a, hide)", UNKNOWN),
        ("a = Add(s, hide) y = Mul(a, two)", MASKED),
        ("a = Add(s, hide) y = Mul(a, far)", UNKNOWN),
        ("a = Add(s, hide) y = Softmax(a)", NUMBER),
        ("a = Add(s, never) y = Softmax(a)", NUMBER),
        ("a = Where(user_seen, s, far) b = Add(a, hide) y = Softmax(b)", UNKNOWN),
        ("a = Add(user_bias, hide) y = Softmax(a)", UNKNOWN),
        ("a = Where(keep, s, far) g = Sigmoid(a) y = Mul(a, g)", NUMBER),
        ("a = Mul(s, m) y = Div(a, two)", NUMBER),
        ("a = Mul(s, m) y = Div(a, s)", UNKNOWN),
        ("y = Mul(s, hide)", UNKNOWN),
        ("a = Mul(s, m) b = Relu(a) y = Neg(b)", NUMBER),
        ("y = Exp(s)", UNKNOWN),
        ("a = Add(s, hide) y = Exp(a)", NUMBER),
        ("a = Add(s, never) y = Exp(a)", NUMBER),
        ("a = Add(user_bias, hide) y = Exp(a)", UNKNOWN),
        ("a = Add(s, hide) y = Sub(a, s)", MASKED),
        ("a = Add(s, never) y = Sub(a, s)", NUMBER),
        ("a = Add(s, hide) y = Sub(s, a)", UNKNOWN),
        ("a = Add(s, hide) y = Sub(a, user_bias)", UNKNOWN),
        ("a = Add(s, hide) y = Sub(a, hide)", UNKNOWN),
        ("a = Add(s, hide) r = ReduceMax<axes = [-1]>(a) y = Sub(a, r)", MASKED),
        ("a = Add(s, never) r = ReduceMax<axes = [-1]>(a) b = Sub(a, r) y = Exp(b)", NUMBER),
        ("a = Add(s, hide) r = ReduceMax<axes = [1]>(a) y = Sub(a, r)", UNKNOWN),
        ("a = Where(user_seen, s, far) b = Add(a, hide) r = ReduceMax<axes = [-1]>(b) y = Sub(b, r)", UNKNOWN),
        ("a = Where(keep, user_bias, far) r = ReduceMax<axes = [-1]>(a) y = Sub(a, r)", UNKNOWN),
        ("a = MatMul(s, hide) y = Add(a, hide)", UNKNOWN),
        ("a = Add(s, hide) b = MatMul(a, s) y = Add(b, hide)", UNKNOWN),
        ("a = MatMul(s, m) y = Add(a, hide)", MASKED),
        ("f = Cast<to = 1>(item_seen) a = Mul(f, far) b = MatMul(m, a) y = Add(b, hide)", UNKNOWN),
        ("f = Cast<to = 1>(item_seen) a = Mul(f, far) b = MatMul(m, a) c = MatMul(m, b) y = Add(c, hide)", UNKNOWN),
        ("f = Cast<to = 1>(item_seen) a = Mul(f, far) b = LeakyRelu(a) c = MatMul(m, b) y = Add(c, hide)", UNKNOWN),
        ("a = Where(item_seen, user_bias, far) b = MatMul(m, a) y = Add(b, hide)", UNKNOWN),
        ("a = Mul(user_bias, far) g = Gather<axis = 1>(a, order) b = MatMul(m, g) y = Add(b, hide)", UNKNOWN),
        ("a = Mul(user_bias, far) g = Pow(a, two) b = MatMul(m, g) y = Add(b, hide)", UNKNOWN),
        ("a = Mul(user_bias, far) g = Clip(a, far, huge) b = MatMul(m, g) y = Add(b, hide)", UNKNOWN),
        ("a = Mul(user_bias, far) g = Clip(a, lows, huge) b = MatMul(m, g) y = Add(b, hide)", UNKNOWN),
        ("a = Mul(s, m) y = Clip(a, lows, huge)", NUMBER),
        ('a = Einsum<equation = "bij->bji">(user_bias) b = Add(s, a) y = Add(b, hide)', UNKNOWN),
        ('a = Einsum<equation = "bij">(user_bias) b = Add(s, a) y = Add(b, hide)', UNKNOWN),
        ('a = Einsum<equation = "...i -> ...i">(user_bias) b = Add(s, a) y = Add(b, hide)', UNKNOWN),
        ("r = ReduceMax<axes = [1]>(user_bias) a = MatMul(column, r) b = Add(s, a) y = Add(b, hide)", UNKNOWN),
        ('a = Einsum<equation = "bij,jk->bik">(user_bias, m) b = Add(s, a) y = Add(b, hide)', MASKED),
        ("a = Mul(user_bias, far) g = Sigmoid(a) b = MatMul(m, g) y = Add(b, hide)", MASKED),
        ("a = Mul(user_bias, two) b = MatMul(m, a) y = Add(b, hide)", MASKED),
    ],
)
def test_above_the_diagonal(body: str, state: int) -> None:
    expected = {UNKNOWN: {UNKNOWN, WILD}, PLAIN + 99: {PLAIN, UNKNOWN, WILD, LOW}}.get(state, {state})
    assert upper(known(body)) <= expected


def test_zeros_are_the_triangle() -> None:
    found = known("a = Add(s, hide) y = Softmax(a)")
    zeros = np.broadcast_to(found.zeros, (1, T, T))[0]
    assert zeros[UPPER].all()
    assert not zeros[LOWER].any()


@pytest.mark.parametrize("opset", [11, 12, 13])
def test_softmax_over_all_axes_from_one_on_is_not_followed(opset: int) -> None:
    found = known("a = Add(s, never) y = Softmax(a)", opset=opset)
    assert found.zeros.any() == (opset >= 13)


def test_a_row_that_is_minus_infinity_throughout_says_nothing() -> None:
    found = known("a = Where(keep, far, never) b = Add(s, never) c = Add(b, a) y = Softmax<axis = 1>(c)")
    assert not found.zeros.any()


LAYOUTS = [
    "a = Transpose<perm = [0, 2, 1]>(s) b = Mul(a, m) y = Transpose<perm = [0, 2, 1]>(b)",
    "o = Constant<value_ints = [1]>() a = Unsqueeze(m, o) b = Squeeze(a, o) y = Mul(s, b)",
    "a = Mul(s, m) b = Constant<value_ints = [0]>() c = Constant<value_ints = [2]>() e = Constant<value_ints = [3]>()"
    " f = Slice(a, b, c, c) g = Slice(a, c, e, c) y = Concat<axis = 2>(f, g)",
    "n = Constant<value_ints = [3, 3]>() o = ConstantOfShape<value = float[1] {1.0}>(n)"
    " l = Trilu<upper = 0>(o) y = Mul(s, l)",
    "n = Constant<value_ints = [3, 3]>() z = Constant<value_int = 1>() o = ConstantOfShape<value = float[1] {1.0}>(n)"
    " l = Trilu<upper = 1>(o, z) one = Constant<value_float = 1.0>() k = Sub(one, l) y = Mul(s, k)",
    "a = Mul(s, m) b = Shape(s) y = Expand(a, b)",
    "n = Shape<start = 0, end = 1>(s) o = Constant<value_ints = [1, 1]>() r = Concat<axis = 0>(n, o)"
    " z = Constant<value_ints = [0]>() a = Unsqueeze(m, z) b = Tile(a, r) y = Mul(s, b)",
    "r = Constant<value_ints = [2, 1]>() b = Tile(m, r) z = Constant<value_ints = [0]>()"
    " e = Constant<value_ints = [3]>() c = Slice(b, z, e, z) y = Mul(s, c)",
    "c = Constant<value_ints = [2]>() e = Constant<value_ints = [3]>() o = Constant<value_ints = [1]>()"
    " a = Slice(m, c, e, o) r = Constant<value_ints = [1, 3]>() b = Tile(a, r) y = Mul(s, b)",
]


@pytest.mark.parametrize("body", LAYOUTS)
def test_layouts_are_followed(body: str) -> None:
    assert known(body).zeros.any()


def test_tiles_of_heads_that_are_alike() -> None:
    """How often the heads of a mask are repeated for the candidates does not matter."""
    found = known(
        """n = Shape<start = 0, end = 1>(s) o = Constant<value_ints = [1, 1]>() r = Concat<axis = 0>(n, o)
        z = Constant<value_ints = [0]>() one = Constant<value_ints = [1]>() a = Unsqueeze(m, z)
        heads = Concat<axis = 0>(a, a) b = Tile(heads, r) q = Constant<value_ints = [-1, 2, 3, 3]>() c = Reshape(b, q)
        d = Slice(c, z, one, one) e = Squeeze(d, one) y = Mul(s, e)"""
    )
    assert found.zeros[..., UPPER[0], UPPER[1]].all()


def test_a_mask_that_the_data_makes_next_to_one_of_constants() -> None:
    found = known(
        """a = Where(item_seen, far, zero) b = Mul(a, two) c = Add(s, b) d = Add(c, never)
        y = Softmax<axis = -1>(d)"""
    )
    assert found.zeros[..., UPPER[0], UPPER[1]].all()
    assert not found.zeros[..., LOWER[0], LOWER[1]].any()


# -- anything at all ---------------------------------------------------------------------------------------------------

NUMBERS = ["s", "m", "hide", "never", "zero", "two", "far", "huge", "user_bias"]
TRUTHS = ["keep", "user_seen", "item_seen"]


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A few elementwise operators on whatever there is, the last one broadcast to a whole value."""
    numbers, truths, lines = list(NUMBERS), list(TRUTHS), []
    for index in range(draw(st.integers(1, 7))):
        name = f"v{index}"
        op = draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Where", "Less", "And", "Or", "Not", *UNARY]))
        one, two = draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))
        yes, no = draw(st.sampled_from(truths)), draw(st.sampled_from(truths))
        if op in ("Less", "And", "Or", "Not"):
            given = {"Less": f"{one}, {two}", "Not": yes}.get(op, f"{yes}, {no}")
            truths.append(name)
        else:
            given = {"Where": f"{yes}, {one}, {two}"}.get(op, one if op in UNARY else f"{one}, {two}")
            numbers.append(name)
        lines.append(f"{name} = {op}({given})")
    return "\n".join([*lines, f"sizes = Shape(s) y = Expand({numbers[-1]}, sizes)"])


UNARY = ["Neg", "Abs", "Relu", "Sigmoid", "Tanh"]


@given(bodies())
def test_every_number_is_what_the_model_computes(body: str) -> None:
    known(body)
