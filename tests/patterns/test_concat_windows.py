"""conv([u, i]) = [conv(u), conv([end of u, i])]."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply

RULE = "concat-windows"


def slid(op: str, sizes: str = "4 3", *, weight: str = "", **settings: Any) -> Outcome:
    """The rule on windows over parts, written as sizes with an ``i`` where they are the item's."""
    parts = [(f"user{k}" if size[-1] != "i" else f"item{k}", size.rstrip("i")) for k, size in enumerate(sizes.split())]
    inputs = ", ".join(f"float[B,2,{size}] {name}" for name, size in parts)
    declared = f"<{weight}>" if weight else ""
    return apply(
        RULE,
        f"""score ({inputs}) => (float[B,N,M] y) {declared} {{
            x = Concat<axis = 2>({", ".join(name for name, _ in parts)})
            y = {op}
        }}""",
        **settings,
    )


def lengths(outcome: Outcome, op: str) -> list[tuple[object, object]]:
    """For each node of an operator, in order, its candidates and how many windows it has."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of(op)]
    return [(shape[0] if isinstance(shape[0], int) else "B", shape[2]) for shape in shapes]


# -- fires -------------------------------------------------------------------------------------------------------------


def test_windows_inside_the_history_are_computed_once() -> None:
    outcome = slid("Conv(x, w)", "6 1i", weight="float[5,2,3] w")
    assert outcome.times == 1
    assert lengths(outcome, "Conv") == [(1, 4), ("B", 1)]


def test_the_candidate_in_the_middle() -> None:
    outcome = slid("Conv(x, w)", "4 1i 5", weight="float[5,2,2] w")
    assert outcome.times == 1
    assert lengths(outcome, "Conv") == [(1, 3), ("B", 2), (1, 4)]


def test_causal() -> None:
    outcome = slid("Conv<pads = [4, 0], dilations = [2]>(x, w, b)", "6 2i", weight="float[5,2,3] w, float[5] b")
    assert outcome.times == 1
    assert lengths(outcome, "Conv") == [(1, 6), ("B", 2)]


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pooling(op: str) -> None:
    outcome = slid(f"{op}<kernel_shape = [2], pads = [1, 1]>(x)", "4 2i", exact=op != "LpPool")
    assert outcome.times == 1
    assert lengths(outcome, op) == [(1, 4), ("B", 3)]


@pytest.mark.parametrize("auto", ["VALID", "NOTSET"])
def test_padding_that_is_named(auto: str) -> None:
    outcome = slid(f'Conv<auto_pad = "{auto}">(x, w)', "6 1i", weight="float[5,2,3] w")
    assert outcome.times == 1


def test_a_mean_that_counts_its_padding() -> None:
    outcome = slid("AveragePool<kernel_shape = [3], pads = [2, 1], count_include_pad = 1>(x)", "4 2i", exact=False)
    assert outcome.times == 1


def test_over_fields_of_a_picture() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,5,3] user, float[B,1,2,3] item) => (float[B,4,7,3] y) <float[4,1,3,1] w> {
            x = Concat<axis = 2>(user, item)
            y = Conv<pads = [1, 0, 1, 0]>(x, w)
        }""",
    )
    assert outcome.times == 1
    assert lengths(outcome, "Conv") == [(1, 4), ("B", 3)]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=2, max_size=4),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_any_windows(runs: list[tuple[int, bool]], window: tuple[int, int, int], pads: tuple[int, int]) -> None:
    kernel, step, stride = window
    assume(any(item for _, item in runs))
    assume((kernel - 1) * step + 1 <= sum(size for size, _ in runs) + sum(pads))
    attrs = f"dilations = [{step}], strides = [{stride}], pads = [{pads[0]}, {pads[1]}]"
    sizes = " ".join(f"{size}{'i' if item else ''}" for size, item in runs)
    slid(f"Conv<{attrs}>(x, w)", sizes, weight=f"float[3,2,{kernel}] w", batches=(1, 2))
    if max(pads) < kernel and step == 1:
        slid(f"MaxPool<kernel_shape = [{kernel}], {attrs}>(x)", sizes, batches=(1, 2))


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "sizes"),
    [
        ("MaxPool<kernel_shape = [2], strides = [2], ceil_mode = 1>(x)", "4 3i"),
        ('MaxPool<kernel_shape = [2], auto_pad = "SAME_UPPER">(x)', "4 3i"),
        ("MaxPool<kernel_shape = [4]>(x)", "3 2i 3"),  # no window in one part
        ("MaxPool<kernel_shape = [2]>(x)", "4i 3i"),
    ],
)
def test_windows_that_stay_together(op: str, sizes: str) -> None:
    assert slid(op, sizes).times == 0


def test_parts_on_another_axis() -> None:
    """Channels are no positions."""
    outcome = apply(
        RULE,
        """score (float[B,2,5] user, float[B,1,5] item) => (float[B,4,3] y) <float[4,3,3] w> {
            x = Concat<axis = 1>(user, item)
            y = Conv(x, w)
        }""",
    )
    assert outcome.times == 0


def test_kernels_of_the_candidates() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,5] user, float[B,2,1] item, float[4,2,3] kernel) => (float[B,4,4] y) {
            x = Concat<axis = 2>(user, item)
            y = Conv(x, kernel)
        }""",
    )
    assert outcome.times == 0
