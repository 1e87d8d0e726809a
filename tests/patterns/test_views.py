"""view(view(x)) = view(x)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply, typed

RULE = "views"


def viewed(nodes: str, item: str, result: str, **settings: Any) -> Outcome:
    return apply(
        RULE,
        f"score (float[{item}] item) => (float[{result}] y) {{ {nodes} }}",
        **settings,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "item", "result"),
    [
        ("a = Flatten(item) y = Reshape(a, six)", "B,2,3", "B,1,6"),
        ("a = Unsqueeze(item, one) y = Reshape(a, six)", "B,6", "B,1,6"),
        ("a = Reshape(item, six) y = Flatten(a)", "B,2,3", "B,6"),
        ("a = Unsqueeze(item, one) b = Unsqueeze(a, one) c = Unsqueeze(b, one) y = Flatten(c)", "B,6,1", "B,6"),
    ],
)
def test_a_chain_becomes_one_view(nodes: str, item: str, result: str) -> None:
    outcome = viewed(nodes, item, result, six=np.array([-1, 1, 6]), one=np.array([1]))
    assert outcome.times >= 1
    assert sum(outcome.ops[op] for op in ("Reshape", "Flatten", "Unsqueeze", "Squeeze")) == 1


def test_there_and_back_is_nothing() -> None:
    outcome = viewed("a = Unsqueeze(item, one) b = Squeeze(a, one) y = Relu(b)", "B,6", "B,6", one=np.array([1]))
    assert outcome.ops == {"Relu": 1}


def test_a_view_that_changes_nothing() -> None:
    outcome = viewed("a = Reshape(item, same) y = Relu(a)", "B,2,3", "B,2,3", same=np.array([-1, 2, 3]))
    assert outcome.ops == {"Relu": 1}


@pytest.mark.parametrize(("op", "times"), [("Expand", "[1, 3]"), ("Tile", "[1, 1]")])
def test_a_repetition_that_repeats_nothing(op: str, times: str) -> None:
    wanted = np.array([int(n) for n in times[1:-1].split(",")])
    outcome = viewed(f"a = {op}(item, same) y = Relu(a)", "B,3", "B,3", same=wanted)
    assert outcome.ops == {"Relu": 1}


@pytest.mark.parametrize(("op", "times"), [("Expand", [1, 3]), ("Tile", [1, 3])])
def test_a_repetition_stays(op: str, times: list[int]) -> None:
    assert viewed(f"a = {op}(item, same) y = Relu(a)", "B,1", "B,3", same=np.array(times)).ops[op] == 1


@pytest.mark.parametrize(
    ("perm", "item", "result"),
    [("[0, 2, 1]", "B,1,4", "B,4,1"), ("[1, 0, 2]", "B,1,4", "1,B,4"), ("[3, 0, 2, 1]", "B,1,4,1", "1,B,4,1")],
)
def test_a_transpose_that_only_moves_axes_of_size_one(perm: str, item: str, result: str) -> None:
    outcome = viewed(f"y = Transpose<perm = {perm}>(item)", item, result)
    assert outcome.times == 1
    assert outcome.ops["Transpose"] == 0


@pytest.mark.parametrize("opset", [11, 12, 13, 20])
def test_in_each_operator_set(opset: int) -> None:
    axes, weights = ("", {"axes": np.array([1])}) if opset >= 13 else ("<axes = [1]>", {})
    second = ", axes" if opset >= 13 else ""
    outcome = viewed(
        f"a = Unsqueeze{axes}(item{second}) b = Squeeze{axes}(a{second}) y = Relu(b)",
        "B,6",
        "B,6",
        opset=opset,
        **weights,
    )
    assert outcome.ops == {"Relu": 1}


def test_other_readers_keep_the_first_view() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] item) => (float[B,1,6] y, float[B,6] a) <int64[3] s = {-1, 1, 6}> {
            a = Flatten(item)
            y = Reshape(a, s)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_a_transpose_that_moves_entries() -> None:
    assert viewed("y = Transpose<perm = [0, 2, 1]>(item)", "B,2,4", "B,4,2").times == 0
    assert viewed("y = Transpose(item)", "B,T", "T,B").times == 0


def test_not_a_single_view() -> None:
    assert viewed("y = Flatten(item)", "B,2,3", "B,6").times == 0


def test_not_where_two_sizes_are_open() -> None:
    """A constant target has room for one unknown size."""
    nodes = "s = Shape(item) a = Flatten<axis = 2>(item) y = Reshape(a, s)"
    assert viewed(nodes, "B,T,N", "B,T,N").times <= 1  # back to what it was, or left alone
    nodes = "a = Unsqueeze(item, one) y = Unsqueeze(a, one)"
    assert viewed(nodes, "B,T,3", "B,1,1,T,3", one=np.array([1])).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    shapes=st.lists(
        st.sampled_from([[6], [2, 3], [1, 6], [3, 2], [1, 2, 3], [6, 1], [3, 1, 2]]), min_size=2, max_size=5
    )
)
def test_any_chain(shapes: list[list[int]]) -> None:
    nodes, weights, value = [], {}, "item"
    for index, shape in enumerate(shapes[1:]):
        nodes.append(f"v{index} = Reshape({value}, s{index})")
        weights[f"s{index}"] = np.array([-1, *shape])
        value = f"v{index}"
    result = typed("float", ["B", *shapes[-1]])
    outcome = apply(
        RULE,
        f"""score ({typed("float", ["B", *shapes[0]])} item) => ({result} y) {{
            {" ".join(nodes)}
            y = Relu({value})
        }}""",
        batches=(0, 1, 2, 7),
        **weights,
    )
    assert outcome.ops["Reshape"] == (shapes[0] != shapes[-1])
