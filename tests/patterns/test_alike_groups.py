"""conv([x, .., x]; G groups) = conv(x)."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "alike-groups"


def tiled(*, body: str, attrs: str = "group = 3", shape: str = "B,2", kernel: str = "6,2,1", out: str = "1") -> Outcome:
    return apply(
        RULE,
        f"""score (float[{shape}] item, float[{shape}] item2) => (float[B,6,{out}] y) <float[{kernel}] w, float[6] b> {{
            {body}
            y = Conv<{attrs}>(wide, w, b)
        }}""",
    )


TILE = "times = Constant<value_ints = [1, 3]>() many = Tile(item, times)"
COLUMN = "last = Constant<value_ints = [-1]>() wide = Unsqueeze(many, last)"


def test_experts_on_one_input() -> None:
    outcome = tiled(body=f"{TILE} {COLUMN}")
    assert outcome.times == 1
    (conv,) = outcome.of("Conv")
    assert outcome.size_of(conv.input[0])[1:] == (2, 1)
    assert not [a for a in conv.attribute if a.name == "group"]
    assert not outcome.of("Tile")


def test_written_side_by_side() -> None:
    outcome = tiled(body=f"many = Concat<axis = 1>(item, item, item) {COLUMN}")
    assert outcome.times == 1
    assert not outcome.of("Concat")


def test_parts_that_come_again() -> None:
    body = f"many = Concat<axis = -1>(item, item2, item, item2, item, item2) {COLUMN}"
    outcome = tiled(body=body, shape="B,1")
    assert outcome.times == 1
    (concat,) = outcome.of("Concat")
    assert list(concat.input) == ["item", "item2"]


def test_an_axis_of_experts() -> None:
    body = """one = Constant<value_ints = [1]>() row = Unsqueeze(item, one) sizes = Constant<value_ints = [1, 3, 1]>()
        many = Expand(row, sizes) flat = Constant<value_ints = [-1, 6, 1]>() wide = Reshape(many, flat)"""
    assert tiled(body=body).times == 1


@pytest.mark.parametrize(
    ("attrs", "kernel", "out"),
    [("pads = [1, 1]", "6,2,1", "6"), ("strides = [2]", "6,2,1", "2"), ("dilations = [2]", "6,2,2", "2")],
)
def test_windows_over_a_sequence(attrs: str, kernel: str, out: str) -> None:
    body = "times = Constant<value_ints = [1, 3, 1]>() wide = Tile(item, times)"
    assert tiled(body=body, attrs=f"group = 3, {attrs}", shape="B,2,4", kernel=kernel, out=out).times == 1


def test_copies_of_a_matrix_whose_rows_become_channels() -> None:
    body = """times = Constant<value_ints = [1, 3, 1]>() many = Tile(item, times)
        laid = Constant<value_ints = [-1, 12, 2]>() wide = Reshape(many, laid)"""
    assert tiled(body=body, shape="B,2,4", kernel="6,4,2", out="1").times == 1


@pytest.mark.parametrize(
    "body",
    [
        f"times = Constant<value_ints = [3, 1]>() rows = Tile(item, times) many = Reshape(rows, laid) {COLUMN}",
        f"many = Concat<axis = 1>(item, item, item2) {COLUMN}",
        f"many = Concat<axis = 1>(item, item2, item) {COLUMN}",
    ],
)
def test_not_other_copies(body: str) -> None:
    assert tiled(body=f"laid = Constant<value_ints = [-1, 6]>() {body}").times == 0


def test_not_where_each_entry_is_repeated() -> None:
    body = """two = Constant<value_ints = [2]>() column = Unsqueeze(item, two)
        sizes = Constant<value_ints = [1, 1, 3]>() many = Expand(column, sizes)
        flat = Constant<value_ints = [-1, 6, 1]>() wide = Reshape(many, flat)"""
    assert tiled(body=body).times == 0


def test_not_more_copies_than_groups() -> None:
    body = f"times = Constant<value_ints = [1, 6]>() many = Tile(item, times) {COLUMN}"
    assert tiled(body=body, shape="B,1").times == 0


def test_not_without_groups() -> None:
    assert tiled(body=f"{TILE} {COLUMN}", attrs="group = 1", kernel="6,6,1").times == 0
