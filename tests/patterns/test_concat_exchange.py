"""[[u, i]_a, [v, j]_a]_b = [[u, v]_b, [i, j]_b]_a."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "concat-exchange"


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inner", "outer"), [(1, 2), (-2, -1), (2, 1)])
def test_history_and_item_of_two_features(inner: int, outer: int) -> None:
    turned = inner == 2
    shapes = ["4,3", "1,3", "4,2", "1,2"]
    if turned:
        shapes = [",".join(reversed(s.split(","))) for s in shapes]
    u, i, v, j = shapes
    outcome = apply(
        RULE,
        f"""score (float[B,{u}] user, float[B,{i}] item, float[B,{v}] user2, float[B,{j}] item2)
        => (float[B,5,5] y) {{
            x = Concat<axis = {inner}>(user, item)
            z = Concat<axis = {inner}>(user2, item2)
            y = Concat<axis = {outer}>(x, z)
        }}""",
    )
    assert outcome.times == 1
    last = next(node for node in outcome.of("Concat") if "y" in node.output)
    assert len(last.input) == 2


def test_several_user_parts_in_a_run() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,2,3] user2, float[B,1,3] item, float[B,4,2] user3, float[B,1,2] item2)
        => (float[B,5,5] y) {
            x = Concat<axis = 1>(user, user2, item)
            z = Concat<axis = 1>(user3, item2)
            y = Concat<axis = 2>(x, z)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("joined", ["x, user2", "user2, x", "x, position"])
def test_positions_beside_history_and_item(joined: str) -> None:
    """What is computed once is cut where user and item meet."""
    outcome = apply(
        RULE,
        f"""score (float[B,4,3] user, float[B,1,3] item, float[B,5,2] user2) => (float[B,5,5] y)
        <float[5,2] table, int64[1] one = {{1}}> {{
            x = Concat<axis = 1>(user, item)
            size = Shape<start = 0, end = 1>(item)
            times = Concat<axis = 0>(size, one, one)
            position = Expand(table, times)
            y = Concat<axis = 2>({joined})
        }}""",
    )
    assert outcome.times == 1
    last = next(node for node in outcome.of("Concat") if "y" in node.output)
    assert [outcome.workspace.is_once(v) for v in last.input] == [True, False]


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_on_the_same_axis() -> None:
    text = """score (float[B,3] user, float[B,2] item, float[B,3] user2, float[B,2] item2) => (float[B,10] y) {
        x = Concat<axis = 1>(user, item)
        z = Concat<axis = 1>(user2, item2)
        y = Concat<axis = 1>(x, z)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_they_are_cut_elsewhere() -> None:
    text = """score (float[B,4,3] user, float[B,1,3] item, float[B,3,2] user2, float[B,2,2] item2) => (float[B,5,5] y) {
        x = Concat<axis = 1>(user, item)
        z = Concat<axis = 1>(user2, item2)
        y = Concat<axis = 2>(x, z)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_one_operand_is_no_concat() -> None:
    text = """score (float[B,4,3] user, float[B,1,3] item, float[B,5,2] item2) => (float[B,5,5] y) {
        x = Concat<axis = 1>(user, item)
        y = Concat<axis = 2>(x, item2)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_candidates_are_joined() -> None:
    text = """score (float[B,3] user, float[B,3] item, float[B,3] user2, float[B,3] item2) => (float[M,6] y) {
        x = Concat<axis = 0>(user, item)
        z = Concat<axis = 0>(user2, item2)
        y = Concat<axis = 1>(x, z)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    sides=st.lists(st.sampled_from(["user", "item"]), max_size=3),
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    turned=st.booleans(),
    data=st.data(),
)
def test_any_grid(sides: list[str], widths: list[int], turned: bool, data: st.DataObject) -> None:
    """A grid of parts, cut alike: joined by row first where more rows than columns are on one side."""
    sides = ["user", *sides, "item"]
    heights = [data.draw(st.integers(1, 2)) for _ in sides]
    inputs, nodes, grid = [], [], []
    for column, width in enumerate(widths):
        names: list[str] = []
        for row, (side, height) in enumerate(zip(sides, heights, strict=True)):
            name = f"{side if column == 0 or data.draw(st.booleans()) else 'item'}{row}{column}"
            names.append(name)
            inputs.append(f"{typed('float', ['B', *((width, height) if turned else (height, width))])} {name}")
        grid.append([name[:4] for name in names])
        nodes.append(f"x{column} = Concat<axis = {2 if turned else 1}>({', '.join(names)})")
    joined = ", ".join(f"x{column}" for column in range(len(widths)))
    total = (sum(widths), sum(heights)) if turned else (sum(heights), sum(widths))
    newline = "\n"
    outcome = apply(
        RULE,
        f"""score ({", ".join(inputs)}) => ({typed("float", ["B", *total])} y) {{
            {newline.join(nodes)}
            y = Concat<axis = {1 if turned else 2}>({joined})
        }}""",
        batches=(0, 1, 2, 7),
    )
    runs = [index for index, side in enumerate(sides) if index == 0 or side != sides[index - 1]]
    ends = [*runs[1:], len(sides)]
    rows = [
        ({side for column in grid for side in column[a:b]}, sum(heights[a:b])) for a, b in zip(runs, ends, strict=True)
    ]
    columns = [(set(column), width) for column, width in zip(grid, widths, strict=True)]
    after, before = sorted_blocks(rows, sum(widths)), sorted_blocks(columns, sum(heights))
    assert (outcome.times > 0) == (len(widths) > 1 and after > before)


def sorted_blocks(blocks: list[tuple[set[str], int]], other: int) -> tuple[int, int]:
    """How many blocks are on one side, and how many entries are in blocks of the user's."""
    user = sum(size * other for sides, size in blocks if sides == {"user"})
    return sum(len(sides) == 1 for sides, _ in blocks), user
