"""piece([a, b, c]) = b."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply, typed

RULE = "pick"


def picked(call: str, result: str, *, dtype: str = "float", **settings: Any) -> Outcome:
    """The rule on one operator behind [user (3), item (2), user2 (4)]."""
    return apply(
        RULE,
        f"""score ({dtype}[B,3] user, {dtype}[B,2] item, {dtype}[B,4] user2) => ({dtype}[{result}] y, {dtype}[B,2] z) {{
            x = Concat<axis = 1>(user, item, user2)
            y = {call}
            z = Neg(item)
        }}""",
        **settings,
    )


def cut(start: int, end: int, axis: int = 1, step: int | None = None) -> dict[str, np.ndarray]:
    weights = {"s": np.array([start]), "e": np.array([end]), "a": np.array([axis])}
    return weights if step is None else {**weights, "t": np.array([step])}


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "width"),
    [(0, 3, 3), (3, 5, 2), (1, 2, 1), (2, 4, 2), (0, 9, 9), (-4, 2**62, 4), (-6, -4, 2), (4, -2, 3), (-100, 1, 1)],
)
def test_slice(start: int, end: int, width: int) -> None:
    outcome = picked("Slice(x, s, e, a)", f"B,{width}", **cut(start, end))
    assert outcome.times == 1


@pytest.mark.parametrize(("ends", "times"), [((2**31 - 1, 4), 1), ((2**62, 5), 1), ((1, 4), 0), ((-1, 4), 0)])
def test_slice_of_axes_that_stay_whole(ends: tuple[int, int], times: int) -> None:
    """So TensorFlow's converter writes `x[:, 3:4]`."""
    weights = {"s": np.array([0, 3]), "e": np.array(ends), "a": np.array([0, 1])}
    rows = "B" if ends[0] > 4 else "N"
    outcome = picked("Slice(x, s, e, a)", f"{rows},{ends[1] - 3}", **weights)
    assert outcome.times == times


def test_a_whole_part_is_taken_as_it_is() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,2] y)
        <int64[1] s = {3}, int64[1] e = {5}, int64[1] a = {1}> {
            x = Concat<axis = 1>(user, item)
            p = Slice(x, s, e, a)
            y = Neg(p)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Neg": 1}


def test_steps_of_one_and_negative_axes() -> None:
    assert picked("Slice(x, s, e, a, t)", "B,3", **cut(1, 4, -1, 1)).times == 1


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_split_in_each_operator_set(opset: int) -> None:
    sizes = np.array([2, 3, 4])
    call, weights = "Split<axis = 1>(x, sizes)", {"sizes": sizes}
    if opset < 13:
        call, weights = "Split<axis = 1, split = [2, 3, 4]>(x)", {}
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item, float[B,4] user2) => (float[B,2] p, float[B,3] q, float[B,4] r) {{
            x = Concat<axis = 1>(user, item, user2)
            p, q, r = {call}
        }}""",
        opset=opset,
        **weights,
    )
    assert outcome.times == 1
    assert outcome.ops["Split"] == 0


def test_split_in_unequal_parts() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,4] item) => (float[B,4] p, float[B,3] q) {
            x = Concat<axis = 1>(user, item)
            p, q = Split<axis = -1, num_outputs = 2>(x)
        }""",
        opset=18,
    )
    assert outcome.times == 1


def test_split_with_a_piece_of_no_entries() -> None:
    text = """score (float[B,2] user, float[B,3] item) => (float[B,2] z) <int64[3] sizes = {2, 0, 3}> {
        x = Concat<axis = 1>(user, item)
        u, none, i = Split<axis = 1>(x, sizes)
        n = Neg(none)
        z = Concat<axis = 1>(n, u)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert "Split" not in outcome.ops


def test_some_outputs_of_a_split_are_not_read() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
            x = Concat<axis = 1>(user, item)
            p, q = Split<axis = 1>(x)
            y = Neg(q)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Neg": 1}


@pytest.mark.parametrize(
    ("indices", "result"),
    [
        (np.array(4), "B"),
        (np.array(-1), "B"),
        (np.array([0]), "B,1"),
        (np.array([3, 4]), "B,2"),
        (np.array([8, 0, 1, 2]), "B,4"),
        (np.array([-6, -5, 4]), "B,3"),
        (np.array([2, 2]), "B,2"),
    ],
)
def test_gather(indices: np.ndarray, result: str) -> None:
    outcome = picked("Gather<axis = 1>(x, k)", result, k=indices)
    assert outcome.times == 1


def test_ids_cut_out_of_a_matrix_of_floats() -> None:
    """DeepCTR: one matrix of all columns, cut and cast to ids, looked up."""
    outcome = apply(
        RULE,
        """score (float[B,2] user, float[B,2] item) => (float[B,1,3] y, float[B,1,3] z) <float[9,3] table,
        int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}> {
            x = Concat<axis = 1>(user, item)
            a = Slice(x, zero, one, one)
            ids = Cast<to = 7>(a)
            y = Gather(table, ids)
            b = Slice(x, two, three, one)
            ids2 = Cast<to = 7>(b)
            z = Gather(table, ids2)
        }""",
        batches=(1, 2, 7),
    )
    assert outcome.times == 2
    assert not any("x" in node.output for node in outcome.result.graph.node)


def test_parts_need_not_be_mixed() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2] item, float[B,3] item2, float[B,1] user) => (float[B,3] y)
        <int64[1] two = {2}, int64[1] five = {5}, int64[1] one = {1}> {
            x = Concat<axis = 1>(item, item2)
            p = Slice(x, two, five, one)
            y = Mul(p, user)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_with_a_step() -> None:
    assert picked("Slice(x, s, e, a, t)", "B,3", **cut(0, 6, 1, 2)).times == 0
    assert picked("Slice(x, s, e, a, t)", "B,9", **cut(8, -100, 1, -1)).times == 0


def test_not_an_empty_slice() -> None:
    assert picked("Slice(x, s, e, a)", "B,0", **cut(4, 4)).times == 0


def test_not_another_axis() -> None:
    assert picked("Slice(x, s, e, a)", "M,9", **cut(0, 1, 0), batches=(1, 2)).times == 0
    assert picked("Gather<axis = 0>(x, k)", "9", k=np.array(0)).times == 0


def test_not_two_axes_at_once() -> None:
    weights = {"s": np.array([1, 1]), "e": np.array([2**31, 3]), "a": np.array([0, 1])}
    assert picked("Slice(x, s, e, a)", "N,2", **weights).times == 0


def test_not_where_the_place_is_computed() -> None:
    text = """score (float[B,3] user, float[B,2] item, int64[1] start) => (float[B,M] y)
    <int64[1] e = {5}, int64[1] a = {1}> {
        x = Concat<axis = 1>(user, item)
        y = Slice(x, start, e, a)
    }"""
    assert apply(RULE, text).times == 0


def test_not_a_matrix_of_indices() -> None:
    assert picked("Gather<axis = 1>(x, k)", "B,2,2", k=np.array([[0, 1], [2, 3]])).times == 0


def test_not_many_scattered_indices() -> None:
    assert picked("Gather<axis = 1>(x, k)", "B,8", k=np.array([0, 2, 4, 6, 8, 1, 3, 5])).times == 0


def test_not_along_the_candidates() -> None:
    text = """score (float[B,3] user, float[B,3] item) => (float[1,3] y)
    <int64[1] s = {0}, int64[1] e = {1}, int64[1] a = {0}> {
        x = Concat<axis = 0>(user, item)
        y = Slice(x, s, e, a)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(0, 3), min_size=2, max_size=5),
    kind=st.sampled_from(["Slice", "Gather", "Split"]),
    axis=st.integers(0, 2),
    data=st.data(),
)
def test_any_piece(sizes: list[int], kind: str, axis: int, data: st.DataObject) -> None:
    sizes = [*sizes, 1]
    total = sum(sizes)
    shape: list[object] = [2, 2, 2]
    shape[data.draw(st.integers(0, 2).filter(lambda a: a != axis))] = "B"
    names = [f"{'user' if index % 2 else 'item'}{index}" for index in range(len(sizes))]

    def sized(size: object) -> str:
        return typed("float", [*shape[:axis], size, *shape[axis + 1 :]])

    inputs = ", ".join(f"{sized(size)} {name}" for size, name in zip(sizes, names, strict=True))
    if kind == "Slice":
        start = data.draw(st.integers(0, total - 1))
        end = data.draw(st.integers(start + 1, total))
        outputs, call = [end - start], "Slice(x, s, e, a)"
        weights = cut(start - data.draw(st.sampled_from([0, total])), end, axis)
    elif kind == "Gather":
        indices = data.draw(st.lists(st.integers(-total, total - 1), min_size=1, max_size=4))
        outputs, call, weights = [len(indices)], f"Gather<axis = {axis}>(x, k)", {"k": np.array(indices)}
    else:
        first = data.draw(st.integers(1, total)) if total > 1 else 1
        outputs = [first, total - first] if first < total else [first]
        call, weights = f"Split<axis = {axis}>(x, k)", {"k": np.array(outputs)}
    declared = ", ".join(f"{sized(size)} y{index}" for index, size in enumerate(outputs))
    results = ", ".join(f"y{index}" for index in range(len(outputs)))
    outcome = apply(
        RULE,
        f"""score ({inputs}) => ({declared}) {{
            x = Concat<axis = {axis}>({", ".join(names)})
            {results} = {call}
        }}""",
        batches=(1, 2, 7),
        **weights,
    )
    assert outcome.times == 1


OPEN = """g (float[B,T,2] user, float[B,T,2] item, float[B,3,2] item_more) => (float[B,M,2] o) {{
    size = Shape(user)
    one = Constant<value_ints = [1]>()
    t = Gather(size, one)
    none = Constant<value_ints = [0]>()
    two = Constant<value_ints = [2]>()
    twice = Mul(t, two)
    x = Concat<axis = 1>({parts})
    {piece}
}}"""


@pytest.mark.parametrize(
    ("parts", "piece"),
    [
        ("user, item, item_more", "o = Slice(x, none, t, one)"),
        ("user, item, item_more", "o = Slice(x, t, twice, one)"),
        ("item_more, user, item", "o = Gather<axis = 1>(x, two)"),
    ],
)
def test_parts_of_open_sizes(parts: str, piece: str) -> None:
    outcome = apply(RULE, OPEN.format(parts=parts, piece=piece))
    assert outcome.times == 1
    assert not any(len(outcome.size_of(n.output[0])) > 1 for n in outcome.of("Concat"))


@pytest.mark.parametrize(
    "piece",
    [
        "o = Slice(x, one, t, one)",
        "o = Slice(x, none, two, one)",
        "o = Slice(x, none, t, two)",
        "o = Slice(x, none, t, one, two)",
        "o = Gather<axis = 1>(x, two)",
    ],
)
def test_pieces_that_end_inside_a_part_of_open_size(piece: str) -> None:
    assert apply(RULE, OPEN.format(parts="user, item, item_more", piece=piece)).times == 0
