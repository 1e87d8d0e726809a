"""A GatherND with one number for each row is a Gather before anything else is done, or one for each row by itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, parse

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def operators(text: str, **weights: np.ndarray) -> list[str]:
    """The operators of the graph that is analysed."""
    return [n.op for n in analyze(parse(text, **weights)).network if isinstance(n, Node)]


def maker_of(value: str, model: onnx.ModelProto) -> str:
    """The operator that makes a value of the graph that is analysed."""
    return next(n.op for n in analyze(model).network if isinstance(n, Node) and value in n.outputs)


@pytest.mark.parametrize(("ids", "rows"), [("int64[B,1]", "B,3"), ("int64[B,5,1]", "B,5,3")])
def test_rows_of_a_table(ids: str, rows: str) -> None:
    text = f"""g (float[B,3] u, {ids} i) => (float[{rows}] y, float[B,3] v) {{
        y = GatherND(table, i) v = Neg(u) }}"""
    assert "GatherND" not in operators(text, table=TABLE)
    assert_right(parse(text, table=TABLE))


def test_constant_rows() -> None:
    text = """g (float[B,3] u, float[B,3] i) => (float[B,3] y) {
        t = Transpose(u) g = GatherND(t, rows) r = Transpose(g) y = Mul(r, i) }"""
    rows = np.array([[2], [0], [1]])
    assert "GatherND" not in operators(text, rows=rows)
    assert_right(parse(text, rows=rows))


@pytest.mark.parametrize(
    "text",
    [
        """g (float[B,3] u, int64[B,2] i) => (float[B] y, float[B,3] v) { y = GatherND(table, i) v = Neg(u) }""",
        """g (float[B,3] u, int64[B,1] i) => (float[B] y) { y = GatherND<batch_dims = 1>(u, i) }""",
    ],
)
def test_other_lookups_stay(text: str) -> None:
    used = {"table": TABLE} if "table" in text else {}
    assert "GatherND" in operators(text, **used)
    assert_right(parse(text, **used))


LAST = """g (float[B,5,3] u, int64[B,1] user_last, float[B,3] i) => (float[B,3] y) {{
    whole = Shape(u) zero = Constant<value_int = 0>() one = Constant<value_int = 1>()
    count = Gather(whole, zero)
    rows = Range({start}, count, one)
    last = Constant<value_ints = [1]>()
    first = Unsqueeze(rows, last)
    index = Concat<axis = -1>({order})
    h = GatherND(u, index)
    y = Mul(h, i) }}"""


def test_the_last_step_of_each_history() -> None:
    text = LAST.format(start="zero", order="first, user_last")
    assert [n.attrs for n in analyze(parse(text)).network if isinstance(n, Node) and n.op == "GatherND"] == [
        {"batch_dims": 1}
    ]
    assert_right(parse(text))


def test_two_numbers_behind_that_of_the_row() -> None:
    text = """g (float[B,5,3] u, int64[B,1] user_last, float[B,1] i) => (float[B] y, float[B,1] z) {
        whole = Shape(u) zero = Constant<value_int = 0>() one = Constant<value_int = 1>()
        count = Gather(whole, zero)
        rows = Range(zero, count, one)
        last = Constant<value_ints = [1]>()
        first = Unsqueeze(rows, last)
        index = Concat<axis = 1>(first, user_last, user_last)
        y = GatherND(u, index)
        z = Neg(i) }"""
    assert {"batch_dims": 1} in [n.attrs for n in analyze(parse(text)).network if isinstance(n, Node)]
    assert_right(parse(text))


def test_rows_in_another_order() -> None:
    text = LAST.format(start="zero", order="user_last, first").replace("float[B,5,3] u", "float[5,B,3] u")
    text = text.replace("count = Gather(whole, zero)", "count = Gather(whole, one)")
    assert {"batch_dims": 1} not in [n.attrs for n in analyze(parse(text)).network if isinstance(n, Node)]


def test_a_single_entry() -> None:
    text = """g (float[B,5] u, int64[1] chosen, float[B,1] i) => (float y, float[B,1] z) {
        first = Constant<value_ints = [0]>()
        index = Concat<axis = 0>(first, chosen)
        y = GatherND(u, index)
        z = Neg(i) }"""
    assert {"batch_dims": 1} not in [n.attrs for n in analyze(parse(text)).network if isinstance(n, Node)]


def moved(before: str, after: str, made: str, *, axis: int = 0) -> str:
    return f"""g (float[B,5,3] u, float[B,5,3] i) => (float[{made}] y, float[B,5,3] v) {{
        front = Transpose<perm = [{before}]>(i) found = Gather<axis = {axis}>(front, places)
        y = Transpose<perm = [{after}]>(found) v = Neg(u) }}"""


ONE, ROW, TABLE_OF_IDS = np.array(2), np.array([2, 0, -1, 0]), np.array([[0, 1], [2, 1], [-1, 2], [0, 0]])


@pytest.mark.parametrize(
    ("before", "after", "places", "made", "axis", "along"),
    [
        ("1, 0, 2", "1, 0, 2", ROW, "B,4,3", 0, 1),
        ("1, 0, 2", "1, 0, 2", ROW, "B,4,3", -3, 1),
        ("2, 0, 1", "1, 2, 0", ROW, "B,5,4", 0, 2),
        ("0, 2, 1", "0, 2, 1", ROW, "B,5,4", 1, 2),
        ("1, 0, 2", "2, 0, 1, 3", TABLE_OF_IDS, "B,4,2,3", 0, 1),
        ("1, 2, 0", "1, 0", ONE, "B,3", 0, 1),
    ],
)
def test_an_axis_that_is_moved_for_a_lookup(
    before: str, after: str, places: np.ndarray, made: str, axis: int, along: int
) -> None:
    text = moved(before, after, made, axis=axis)
    nodes = [n for n in analyze(parse(text, places=places)).network if isinstance(n, Node)]
    assert {"axis": along} in [n.attrs for n in nodes if n.op == "Gather"]
    assert_right(parse(text, places=places))


@pytest.mark.parametrize(
    ("before", "after", "places", "made"),
    [
        ("1, 0, 2", "0, 1, 2", ROW, "4,B,3"),
        ("1, 0, 2", "1, 2, 0", ROW, "B,3,4"),
        ("1, 0, 2", "2, 1, 0, 3", TABLE_OF_IDS, "B,2,4,3"),
    ],
)
def test_an_axis_that_is_not_moved_back(before: str, after: str, places: np.ndarray, made: str) -> None:
    text = moved(before, after, made)
    assert operators(text, places=places).count("Transpose") == 2
    assert_right(parse(text, places=places))


WHOLE = """g (float[B,5] u, float[B,1] i) => (float[{result}] y, float[B,1] z) {{
    whole = Shape(u) zero = Constant<value_int = 0>() one = Constant<value_int = 1>()
    count = Gather(whole, zero)
    all = Range(zero, count, one)
    {index}
    h = {lookup}
    {more}
    y = Add(h, i{own}) z = Neg(i) }}"""

EACH = """
    far = Constant<value_ints = [1, 2, 3]>() last = Constant<value_ints = [-1]>()
    three = Constant<value_ints = [2, 3]>()
    rows = Unsqueeze(all, far)
    together = Max(rows, steps) size = Shape(together)
    wide_rows = Expand(rows, size) wide_steps = Expand(steps, size)
    a = Unsqueeze(wide_rows, last) b = Unsqueeze(wide_steps, last)
    index = Concat<axis = -1>(a, b)
"""


@pytest.mark.parametrize(
    ("steps", "proven"), [(range(5), True), ((0, 1, 2, 4, 3), False), ((0, 0, 2, 3, 4), False), ((1, 2, 3, 4), False)]
)
def test_all_entries_each_by_its_numbers(steps: range | tuple[int, ...], proven: bool) -> None:
    size = len(steps)
    text = WHOLE.format(
        index=EACH,
        lookup="GatherND(u, index)",
        result=f"B,1,1,{size}",
        own="4",
        more="i4 = Unsqueeze(i, three)",
    )
    numbers = np.array(steps).reshape(1, 1, 1, size)
    model = parse(text, steps=numbers)
    assert maker_of("h", model) == ("Unsqueeze" if proven else "GatherND")
    assert_right(model)


FLAT = """
    flat = Constant<value_ints = [-1, 1]>() more_axes = Constant<value_ints = [1]>()
    table = Reshape(u, flat)
    rows = Unsqueeze(all, more_axes)
    {index}
"""


@pytest.mark.parametrize(
    ("index", "proven"),
    [
        ("far = Mul(rows, width) j = Add(far, steps)", True),
        ("far = Mul(width, rows) j = Add(steps, far)", True),
        ("far = Mul(rows, wrong) j = Add(far, steps)", False),
        ("far = Mul(rows, width) j = Add(far, turned)", False),
        ("far = Mul(rows, width) j = Sub(far, turned)", False),
        ("far = Mul(rows, width) j = Add(far, few)", False),
    ],
)
def test_all_entries_of_a_table_laid_end_to_end(index: str, proven: bool) -> None:
    size = 3 if "few" in index else 5
    text = WHOLE.format(
        index=FLAT.format(index=index),
        lookup="Gather(table, j)",
        result=f"B,{size},1",
        own="3",
        more="i3 = Unsqueeze(i, more_axes)",
    )
    weights = {
        "width": np.array(5),
        "wrong": np.array(4),
        "steps": np.arange(5)[None],
        "turned": -np.arange(5)[None] if "Sub" in index else np.arange(5)[None, ::-1].copy(),
        "few": np.arange(3)[None],
    }
    model = parse(text, **{k: v for k, v in weights.items() if k in index})
    assert maker_of("h", model) == ("Reshape" if proven else "Gather")
    assert_right(model)
