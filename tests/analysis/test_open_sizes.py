"""Sizes that stay open may be anything when the model runs, 0 and 1 and the number of candidates among it."""

from __future__ import annotations

import pytest

from tests.analysis.support import analyze, assert_right, parse

LENGTHS = pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 6, 7])


@pytest.mark.parametrize("side", ["u", "i"])
@pytest.mark.parametrize("length", [3, 6])
def test_a_size_that_is_copied_beside_one_that_cannot_be_told(side: str, length: int) -> None:
    other = "u" if side == "i" else "i"
    model = parse(
        f"""g (float[B,S] {side}, float[B,4] {other}) => (float[B,7] y)
        <int64[3] t = {{0, 3, -1}}, int64[1] last = {{2}}> {{
            r = Reshape({side}, t) s = ReduceSum<keepdims = 0>(r, last) y = Concat<axis = 1>(s, {other})
        }}"""
    )
    shape = analyze(model).facts["r"].shape
    assert shape is not None
    assert shape[0] != 0
    assert_right(model, lengths={"S": length})


@LENGTHS
def test_numbers_up_to_less_than_nothing(length: int) -> None:
    model = parse("""g (float[B,T] u, float[B,4] i) => (float[B,5] y)
        <int64 none = {0}, int64 one = {1}, int64 three = {3}, int64[1] last = {1}> {
            s = Shape(u) t = Gather<axis = 0>(s, one) left = Sub(t, three) r = Range(none, left, one)
            n = Shape(r) c = Cast<to = 1>(n) total = ReduceSum<keepdims = 1>(u, last) v = Mul(total, c)
            y = Concat<axis = 1>(v, i)
        }""")
    assert_right(model, lengths={"T": length})


FAR = 2**63 - 1
BORDERS = f"""size = Shape(u) t = Gather<axis = 0>(size, one) minus = Neg(t)
    both = Concat<axis = 1>(u, v) far = Constant<value_ints = [{FAR}]>() none = Constant<value_ints = [0]>()"""


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ("none, t", "dim:T"),
        ("t, far", "dim:S"),
        ("none, far", "dim:S + dim:T"),
        ("minus, far", "?"),
        ("none, minus", "?"),
        ("t, none", "?"),
    ],
)
@pytest.mark.parametrize("lengths", [(0, 3), (3, 0), (0, 0), (2, 4), (4, 2)])
def test_pieces_that_end_at_an_open_size(bounds: str, kept: str, lengths: tuple[int, int]) -> None:
    """Minus no entries is the front: a piece of as many from behind may be all there are."""
    model = parse(
        f"""g (float[B,T,4] u, float[B,S,4] v, float[B,4] i) => (float[B,4] y)
        <int64[1] one = {{1}}, int64[1] axis = {{1}}> {{
            {BORDERS} piece = Slice({"both, " + bounds}, axis)
            sums = ReduceSum<keepdims = 0>(piece, one) y = Add(sums, i)
        }}"""
    )
    shape = analyze(model, users=("u", "v")).facts["piece"].shape
    assert shape is not None
    assert str(shape[1])[: len(kept)] == kept
    assert_right(model, users=("u", "v"), lengths=dict(zip("TS", lengths, strict=True)))


@pytest.mark.parametrize("lengths", [(0, 3), (3, 0), (2, 4)])
def test_a_split_at_open_sizes(lengths: tuple[int, int]) -> None:
    model = parse(
        """g (float[B,T,4] u, float[B,S,4] v, float[B,4] i) => (float[B,4] y)
        <int64[1] one = {1}> {
            both = Concat<axis = 1>(u, v) su = Shape(u) sv = Shape(v)
            t = Gather<axis = 0>(su, one) s = Gather<axis = 0>(sv, one) sizes = Concat<axis = 0>(t, s)
            left, right = Split<axis = 1>(both, sizes)
            a = ReduceSum<keepdims = 0>(left, one) b = ReduceSum<keepdims = 0>(right, one)
            d = Sub(a, b) y = Add(d, i)
        }"""
    )
    facts = analyze(model, users=("u", "v")).facts
    assert [str((facts[name].shape or ())[1]) for name in ("left", "right")] == ["dim:T", "dim:S"]
    assert_right(model, users=("u", "v"), lengths=dict(zip("TS", lengths, strict=True)))


def test_a_slice_along_an_axis_that_sizes_say() -> None:
    """Which one it is depends on how many candidates there are."""
    model = parse("""g (float[B,3] u, float[B,3] i) => (float[M,N] y)
        <int64[1] none = {0}, int64[1] two = {2}> {
            sizes = Shape(i) rows = Gather(sizes, none) axis = Neg(rows) a = Add(u, i) y = Slice(a, none, two, axis)
        }""")
    shape = analyze(model).facts["y"].shape
    assert shape is not None
    assert not any(isinstance(size, int) for size in shape)
    assert_right(model, batches=[1, 2])


@pytest.mark.parametrize("heads", [(2, 2), (2, 1)])
@pytest.mark.parametrize("side", ["u", "i"])
def test_attention_to_values_of_an_open_width(side: str, heads: tuple[int, int]) -> None:
    width = 4 * heads[1] // heads[0]
    model = parse(
        f"""g (float[B,2,4] i, float[B,5,{width}] u, float[B,5,S] {side}v) => (float[K,M,N] y) {{
            y = Attention<q_num_heads = {heads[0]}, kv_num_heads = {heads[1]}>(i, u, {side}v)
        }}""",
        opset=24,
    )
    assert_right(model, ["u", "uv"] if side == "u" else ["u"], lengths={"S": 6})
