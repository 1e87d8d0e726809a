"""table[[u, i]] = [table[u], table[i]]."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "concat-lookup"


# -- fires -------------------------------------------------------------------------------------------------------------


def test_ids_of_all_fields_at_once() -> None:
    outcome = apply(
        RULE,
        """score (int64[B,3] user, int64[B,2] item) => (float[B,5,4] y) <float[9,4] table> {
            ids = Concat<axis = 1>(user, item)
            y = Gather(table, ids)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Gather"] == 2
    assert sorted(str(outcome.size_of(node.output[0])) for node in outcome.of("Gather")) == ["(1, 3, 4)", "(B, 2, 4)"]


@pytest.mark.parametrize(("axis", "shape"), [(-1, "B,5,4"), (2, "B,5,4"), (1, "B,4,5"), (0, "4,B,5")])
def test_hot_ones_of_all_fields_at_once(axis: int, shape: str) -> None:
    outcome = apply(
        RULE,
        f"""score (int64[B,3] user, int64[B,2] item) => (float[{shape}] y) <int64 depth = {{4}}, float[2] values> {{
            ids = Concat<axis = 1>(user, item)
            y = OneHot<axis = {axis}>(ids, depth, values)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["OneHot"] == 2


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_along_any_axis_of_the_table(axis: int) -> None:
    ids = "5,B" if axis == 0 else "4"
    del ids
    result = {0: "B,5,4,2", 1: "6,B,5,2", -1: "6,4,B,5"}[axis]
    table = {0: "6,4,2", 1: "6,4,2", -1: "6,4,4"}[axis]
    outcome = apply(
        RULE,
        f"""score (int64[B,3] user, int64[B,2] item) => (float[{result}] y) <float[{table}] table> {{
            ids = Concat<axis = -1>(user, item)
            y = Gather<axis = {axis}>(table, ids)
        }}""",
    )
    assert outcome.times == 1


def test_a_table_that_the_request_brings() -> None:
    outcome = apply(
        RULE,
        """score (int64[B,3] user, int64[B,2] item, float[9,4] given) => (float[B,5,4] y) {
            ids = Concat<axis = 1>(user, item)
            y = Gather(given, ids)
        }""",
    )
    assert outcome.times == 1


def test_int32_ids_and_a_table_in_half_precision() -> None:
    outcome = apply(
        RULE,
        """score (int32[B,3] user, int32[B,2] item) => (float16[B,5,4] y) <float16[9,4] table> {
            ids = Concat<axis = 1>(user, item)
            y = Gather(table, ids)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_the_table_differs_between_candidates() -> None:
    text = """score (int64[3] given, int64[2] given2, float[B,9] item, float[B,1] user) => (float[B,5] z) {
        ids = Concat<axis = 0>(given, given2)
        y = Gather<axis = 1>(item, ids)
        z = Add(y, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_candidates_are_joined() -> None:
    text = """score (int64[B,3] user, int64[B,3] item) => (float[M,3,4] y) <float[9,4] table> {
        ids = Concat<axis = 0>(user, item)
        y = Gather(table, ids)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_table_is_joined() -> None:
    text = """score (float[B,3] user, float[B,2] item, int64[2] given) => (float[B,2] y) {
        table = Concat<axis = 1>(user, item)
        y = Gather<axis = 1>(table, given)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    sides=st.lists(st.sampled_from(["user", "item"]), max_size=4),
    table=st.integers(1, 3),
    data=st.data(),
    batch_first=st.booleans(),
)
def test_any_lookup(sides: list[str], table: int, data: st.DataObject, batch_first: bool) -> None:
    along = data.draw(st.integers(0, table - 1))
    names = [f"{side}{index}" for index, side in enumerate([*sides, "user", "item"])]
    sizes = [data.draw(st.integers(1, 2)) for _ in names]
    total: list[object] = ["B", sum(sizes)] if batch_first else [sum(sizes), "B"]
    shape: list[object] = [4, 2, 3][:table]
    shape[along] = 5
    inputs = [
        f"{typed('int64', ['B', size] if batch_first else [size, 'B'])} {name}"
        for name, size in zip(names, sizes, strict=True)
    ]
    outcome = apply(
        RULE,
        f"""score ({", ".join(inputs)}) => ({typed("float", [*shape[:along], *total, *shape[along + 1 :]])} y) {{
            ids = Concat<axis = {int(batch_first)}>({", ".join(names)})
            y = Gather<axis = {along}>(table, ids)
        }}""",
        table=np.arange(np.prod([int(str(d)) for d in shape]), dtype=np.float32).reshape([int(str(d)) for d in shape]),
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1
