"""A search among constant borders, written out step by step, is a count of comparisons before anything else is done."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, parse
from tests.patterns.support import session

INF = np.inf


def halvings(count: int, right: bool, nan_low: bool = False) -> str:
    """The steps that find ``x`` among so many borders, as an exporter writes them."""
    steps = int(np.ceil(np.log2(count + 1)))
    lines = [
        "zero = Constant<value_int = 0>() one = Constant<value_int = 1>() two = Constant<value_int = 2>()",
        f"n = Constant<value_int = {count}>() whole = Shape(x)",
        "lo0 = Expand(zero, whole) hi0 = Add(lo0, n) last = Constant<value_ints = [-1]>()",
    ]
    for k in range(steps):
        holds = {
            (False, False): f"ge{k} = GreaterOrEqual(b{k}, x)",
            (True, False): f"ge{k} = Greater(b{k}, x)",
            (False, True): f"lt{k} = Less(b{k}, x) ge{k} = Not(lt{k})",
            (True, True): f"le{k} = LessOrEqual(b{k}, x) ge{k} = Not(le{k})",
        }[right, nan_low]
        lines.append(
            f"""live{k} = Less(lo{k}, hi{k})
            sum{k} = Add(lo{k}, hi{k}) mid{k} = Div(sum{k}, two) safe{k} = Where(live{k}, mid{k}, zero)
            at{k} = Unsqueeze(safe{k}, last) b{k} = GatherND(borders, at{k})
            {holds}
            down{k} = And(ge{k}, live{k}) no{k} = Not(ge{k}) up{k} = And(no{k}, live{k}) more{k} = Add(safe{k}, one)
            hi{k + 1} = Where(down{k}, safe{k}, hi{k}) lo{k + 1} = Where(up{k}, more{k}, lo{k})"""
        )
    return "\n".join(lines) + f"\nfound = Identity(lo{steps})"


def search(borders: np.ndarray, right: bool = False, nan_low: bool = False) -> onnx.ModelProto:
    kind = {"float32": "float", "float64": "double", "float16": "float16"}[str(borders.dtype)]
    text = f"""g ({kind}[B,3] u, {kind}[B,4] i) => (int64[B,7] y) {{
        x = Concat<axis = 1>(u, i)
        {halvings(len(borders), right, nan_low)}
        y = Identity(found)
    }}"""
    return parse(text, borders=borders)


def operators(model: onnx.ModelProto) -> list[str]:
    """The operators of the graph that is analysed."""
    return [n.op for n in analyze(model).network if isinstance(n, Node)]


def assert_same_everywhere(model: onnx.ModelProto, borders: np.ndarray) -> None:
    """At borders, beside them, at both ends of all numbers, at both zeros, and where there is no number."""
    kind = borders.dtype
    with np.errstate(all="ignore"):
        special = [*borders, *np.nextafter(borders, kind.type(-INF)), *np.nextafter(borders, kind.type(INF))]
    special += [0.0, -0.0, INF, -INF, np.nan, np.finfo(kind).max, np.finfo(kind).min, np.finfo(kind).tiny]
    numbers = np.array(special, kind)
    item = np.resize(numbers, (-(-len(numbers) // 4) * 4)).reshape(-1, 4)
    result = mari_onnx.optimize(model, user_inputs=["u"], verify=False).model
    for row in numbers:
        user = np.full((1, 3), row, kind)
        (expected,) = session(model).run(None, {"u": user.repeat(len(item), 0), "i": item})
        (found,) = session(result).run(None, {"u": user, "i": item})
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


BORDERS = {
    "some": [-1.0, -0.5, 0.0, 0.25, 2.0],
    "two": [0.5, 0.75],
    "repeated": [-1.0, 0.0, 0.0, 0.0, 1.0, 1.0],
    "both zeros": [-0.0, 0.0, 1.0],
    "neighbours": [1.0, float(np.nextafter(np.float32(1), np.float32(2))), 2.0],
    "infinite": [-INF, -1.0, INF],
    "largest": [float(np.finfo(np.float32).min), 0.0, float(np.finfo(np.float32).max)],
    "smallest": [0.0, 1e-45, 1.0],
}


@pytest.mark.parametrize("nan_low", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("name", BORDERS)
def test_a_search_is_a_count(name: str, right: bool, nan_low: bool) -> None:
    borders = np.array(BORDERS[name], np.float32)
    model = search(borders, right, nan_low)
    found = operators(model)
    assert "ReduceSum" in found
    assert {"GatherND", "Gather", "Where", "Div"}.isdisjoint(found)
    assert_same_everywhere(model, borders)
    assert_right(model)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions(dtype: type) -> None:
    borders = np.array([-1, 0, 0.5, 3], dtype)
    model = search(borders)
    assert "Where" not in operators(model)
    assert_same_everywhere(model, borders)


def test_the_columns_of_both_sides_are_apart() -> None:
    """Of a table that both are looked up in, the user's rows are looked up once."""
    borders = np.linspace(-1, 1, 15).astype(np.float32)
    text = f"""g (float[B,3] u, float[B,4] i) => (float[B,2] y) {{
        x = Concat<axis = 1>(u, i)
        {halvings(15, False)}
        e = Gather(table, found)
        flat = Flatten(e)
        y = MatMul(flat, w)
    }}"""
    random = np.random.default_rng(0)
    table, w = (random.integers(-3, 4, s).astype(np.float32) for s in ((16, 8), (56, 2)))
    model = parse(text, borders=borders, table=table, w=w)
    result = mari_onnx.optimize(model, user_inputs=["u"])
    assert result.verification is not None
    assert result.verification.passed
    assert result.report.after.nodes < result.report.before.nodes / 2
    assert result.report.after.flops < 0.7 * result.report.before.flops


# -- what stays --------------------------------------------------------------------------------------------------------


def stays(text: str, **weights: np.ndarray) -> None:
    model = parse(text, **weights)
    before = operators(model)
    assert "ReduceSum" not in before
    assert_right(model)


STEPS = halvings(3, False)
THREE = np.array([-1, 0, 2], np.float32)


def test_borders_that_are_no_numbers() -> None:
    borders = np.array([0, 1, np.nan], np.float32)
    model = search(borders)
    assert "ReduceSum" not in operators(model)


def test_borders_of_each_column_and_borders_of_the_user() -> None:
    each = "lt = Less(x, c) a = Cast<to = 7>(lt) gt = Less(x, d) b = Cast<to = 7>(gt) s = Add(a, b) y = Add(s, s)"
    one = np.arange(4, dtype=np.float32)
    stays(f"g (float[B,4] u, float[B,4] i) => (int64[B,4] y) {{ x = Add(u, i) {each} }}", c=one, d=one + 1)
    stays(f"g (float[B,4] c, float[B,4] u, float[B,4] x) => (int64[B,4] y) {{ d = Neg(u) {each} }}")


def test_many_borders() -> None:
    """So many comparisons would take longer than the search."""
    borders = np.linspace(-1, 1, 100).astype(np.float32)
    assert "ReduceSum" not in operators(search(borders))


@pytest.mark.parametrize("borders", [[0, 3, -2, 5, 1], [5, 4, 3, 2], [1, 1, 0], [2, 0, 1]])
def test_borders_out_of_order(borders: list[float]) -> None:
    """Whether what is found rises with the number, or not: it is what it was."""
    array = np.array(borders, np.float32)
    assert_same_everywhere(search(array), array)


def test_a_number_that_is_read_otherwise_too() -> None:
    """Its whole part is no matter of borders."""
    text = f"""g (float[B,3] u, float[B,3] i) => (int64[B,3] y) {{
        x = Add(u, i)
        {STEPS}
        whole_part = Cast<to = 7>(x)
        y = Add(found, whole_part)
    }}"""
    model = parse(text, borders=THREE)
    assert "ReduceSum" in operators(model)
    assert_right(model)


@pytest.mark.parametrize(
    "steps",
    [
        "a = Less(x, p) b = Less(x, q) c = Cast<to = 7>(a) d = Cast<to = 7>(b) e = Sub(c, d) f = Add(e, e) y = Neg(f)",
        "a = Equal(x, p) b = Less(x, q) c = Cast<to = 7>(a) d = Cast<to = 7>(b) e = Add(c, d) f = Add(e, e) y = Neg(f)",
        "a = Less(x, p) b = Less(x, q) o = Xor(a, b) y = Cast<to = 7>(o)",
        "z = Sub(x, x) a = Less(x, z) b = Less(x, p) c = Cast<to = 7>(a) d = Cast<to = 7>(b) e = Add(c, d) y = Neg(e)",
    ],
)
def test_what_does_not_rise(steps: str) -> None:
    one, two = np.array(0, np.float32), np.array(1, np.float32)
    used = {n: a for n, a in (("p", one), ("q", two)) if f" {n})" in steps}
    stays(f"g (float[B,3] u, float[B,3] i) => (int64[B,3] y) {{ x = Add(u, i) {steps} }}", **used)


def test_a_longer_shape_than_that_of_the_number() -> None:
    """Each entry must be made of what stands in its own place."""
    steps = "a = Less(x, p) b = Less(x, q) c = Cast<to = 7>(a) d = Cast<to = 7>(b) t = Transpose(d)"
    stays(
        f"g (float[B,1] u, float[B,1] i) => (int64[B,N] y) {{ x = Add(u, i) {steps} e = Add(c, t) y = Add(e, e) }}",
        p=np.array(0, np.float32),
        q=np.array(1, np.float32),
    )
