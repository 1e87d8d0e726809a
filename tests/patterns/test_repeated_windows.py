"""conv(repeat(x), W) = repeat(conv(x, sum_k W))."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "repeated-windows"


def repeated(attrs: str = "", *, sizes: str = "1, 1, 6", item: str = "B,2,1", kernel: str = "4,2,3") -> Outcome:
    axes = ", ".join("T" for _ in range(kernel.count(",") - 1))
    return apply(
        RULE,
        f"""score (float[{item}] item) => (float[B,4,{axes}] y) <float[{kernel}] w, float[4] b> {{
            sizes = Constant<value_ints = [{sizes}]>()
            x = Expand(item, sizes)
            y = Conv{attrs}(x, w, b)
        }}""",
    )


@pytest.mark.parametrize("attrs", ["", "<strides = [2]>", "<dilations = [2]>", "<kernel_shape = [3], pads = [0, 0]>"])
def test_an_item_beside_each_step(attrs: str) -> None:
    outcome = repeated(attrs)
    assert outcome.times == 1
    (conv,) = outcome.of("Conv")
    assert outcome.size_of(conv.input[0])[1:] == (2, 1)
    assert outcome.size_of(conv.input[1]) == (4, 2, 1)


def test_in_groups() -> None:
    assert repeated("<group = 2>", kernel="4,1,3").times == 1


def test_one_axis_of_a_picture() -> None:
    outcome = repeated("<pads = [0, 1, 0, 1]>", sizes="1, 1, 6, 1", item="B,2,1,5", kernel="4,2,3,2")
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Conv")[0].input[1]) == (4, 2, 1, 2)


def test_both_axes_of_a_picture() -> None:
    outcome = repeated(sizes="1, 1, 6, 4", item="B,2,1,1", kernel="4,2,3,2")
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Conv")[0].input[1]) == (4, 2, 1, 1)


@pytest.mark.parametrize("attrs", ["<pads = [1, 0]>", "<pads = [0, 1]>", '<auto_pad = "SAME_LOWER">'])
def test_not_where_windows_reach_over_the_ends(attrs: str) -> None:
    assert repeated(attrs).times == 0


def test_not_along_channels() -> None:
    assert repeated(sizes="1, 2, 6", item="B,1,1").times == 0


def test_not_what_differs_from_step_to_step() -> None:
    assert repeated(sizes="1, 1, 6", item="B,2,6").times == 0
