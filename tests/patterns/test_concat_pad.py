"""pad([u, i]) = [pad(u), pad(i)]."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "concat-pad"


def padded(pads: str, *, mode: str = "constant", result: str = "B,T,N", opset: int = 17, more: str = "") -> Outcome:
    """Five tokens of width 4, three of them the user's, are padded."""
    return apply(
        RULE,
        f"""score (float[B,3,4] user, float[B,2,4] item) => (float[{result}] y) {{
            x = Concat<axis = 1>(user, item)
            pads = Constant<value_ints = [{pads}]>()
            y = Pad<mode = "{mode}">(x, pads{more})
        }}""",
        opset=opset,
    )


def once(outcome: Outcome) -> list[tuple[object, ...]]:
    """The shapes of what is padded for the user."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of("Pad")]
    return [shape for shape in shapes if shape[0] == 1]


@pytest.mark.parametrize(
    ("pads", "user"),
    [
        ("0, 1, 0, 0, 0, 0", [(1, 4, 4)]),
        ("0, 2, 0, 0, 1, 0", [(1, 5, 4)]),
        ("0, 1, 0, 0, -1, 0", [(1, 4, 4)]),
        ("0, 0, 0, 0, 2, 0", []),
        ("0, -2, 0, 0, 2, 0", []),
        ("0, 0, 1, 0, 0, 2", [(1, 3, 7)]),
        ("0, 1, 1, 0, 1, -1", [(1, 4, 4)]),
        ("0, 0, 0, 0, 0, 0", []),
    ],
)
def test_parts_are_padded_where_they_lie(pads: str, user: list[tuple[int, ...]]) -> None:
    outcome = padded(pads)
    assert outcome.times == 1
    assert once(outcome) == user


def test_a_shift_that_drops_the_candidate_leaves_what_is_the_users() -> None:
    outcome = padded("0, 2, 0, 0, -2, 0")
    assert outcome.times == 1
    assert once(outcome) == [(1, 5, 4)]
    assert {node.input[0] for node in outcome.of("Pad")} == {"user"}
    assert outcome.workspace.fact("y").is_user


def test_what_is_filled_in() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item, float fill) => (float[B,8,4] y) {
            x = Concat<axis = 1>(user, item)
            pads = Constant<value_ints = [0, 2, 0, 0, 1, 0]>()
            y = Pad(x, pads, fill)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("dtype", ["double", "int64", "bool"])
def test_other_types(dtype: str) -> None:
    outcome = apply(
        RULE,
        f"""score ({dtype}[B,3] user, {dtype}[B,2] item) => ({dtype}[B,7] y) {{
            x = Concat<axis = 1>(user, item)
            pads = Constant<value_ints = [0, 1, 0, 1]>()
            y = Pad(x, pads)
        }}""",
    )
    assert outcome.times == 1


def test_nan_and_infinity_are_moved_as_they_are() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,1] item) => (float[B,5,1] y) <float[1,2,1] w, float fill> {
            size = Shape<start = 0, end = 1>(item)
            rest = Constant<value_ints = [1, 1]>()
            sizes = Concat<axis = 0>(size, rest)
            u = Expand(w, sizes)
            x = Concat<axis = 1>(u, item)
            pads = Constant<value_ints = [0, 1, 0, 0, 0, 0]>()
            y = Pad(x, pads, fill)
        }""",
        w=np.array([[[np.nan], [-np.inf]]], np.float32),
        fill=np.array(-0.0, np.float32),
    )
    assert outcome.times == 1


def test_axes_that_are_named() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,6,6] y) {
            x = Concat<axis = 1>(user, item)
            pads = Constant<value_ints = [2, 1, 0, 0]>()
            axes = Constant<value_ints = [-1, 1]>()
            y = Pad(x, pads, , axes)
        }""",
        opset=18,
    )
    assert outcome.times == 1
    assert once(outcome) == [(1, 4, 6)]


def test_pads_that_are_an_attribute() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,6,4] y) {
            x = Concat<axis = 1>(user, item)
            y = Pad<pads = [0, 1, 0, 0, 0, 0], value = 2.0>(x)
        }""",
        opset=10,
    )
    assert outcome.times == 1


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_modes_that_read_entries(mode: str) -> None:
    assert padded("0, 0, 1, 0, 0, 2", mode=mode).times == 1
    assert padded("0, 1, 0, 0, 1, 0", mode=mode).times == 0


@pytest.mark.parametrize("pads", ["1, 1, 0, 0, 0, 0", "0, 1, 0, 2, 0, 0"])
def test_not_among_candidates(pads: str) -> None:
    assert padded(pads, result="N,T,4").times == 0


def test_not_where_nothing_is_left() -> None:
    assert padded("0, -5, 0, 0, 1, 0").times == 0


def test_not_where_pads_are_not_known() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,N] y) {
            x = Concat<axis = 1>(user, item)
            row = Constant<value_ints = [0]>()
            first = Gather<axis = 0>(item, row)
            ones = Sign(first)
            ends = Abs(ones)
            whole = Cast<to = 7>(ends)
            some = ReduceMax<keepdims = 0>(whole)
            one = Unsqueeze(some, row)
            pads = Concat<axis = 0>(row, one, row, one)
            y = Pad(x, pads)
        }""",
    )
    assert outcome.times == 0


def test_not_on_one_side() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,2] item_more) => (float[B,6] y) {
            x = Concat<axis = 1>(item, item_more)
            pads = Constant<value_ints = [0, 1, 0, 0]>()
            y = Pad(x, pads)
        }""",
    )
    assert outcome.times == 0
