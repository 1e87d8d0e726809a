"""conv([u, i], W) = conv(u, W_u) + conv(i, W_i)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "split-kernel"


def kernels(outcome: Outcome) -> list[tuple[object, object]]:
    """For each convolution, in order, its candidates and how many entries its kernel has."""
    convs = outcome.of("Conv")
    return [
        (size if isinstance(size := outcome.size_of(n.output[0])[0], int) else "B", outcome.size_of(n.input[1])[2])
        for n in convs
    ]


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(
    "attrs",
    [
        "",
        "<pads = [1, 2]>",
        '<auto_pad = "SAME_UPPER">',
        '<auto_pad = "VALID", kernel_shape = [3]>',
        "<strides = [2], dilations = [2], pads = [2, 2]>",
    ],
)
def test_channels(attrs: str, bias: str) -> None:
    """The border has zeros on both sides, and the bias is added once."""
    outcome = apply(
        RULE,
        f"""score (float[B,2,7] user, float[B,1,7] item, float[B,3,7] user_more) => (float[B,4,N] y)
            <float[4,6,3] w, float[4] b> {{
            x = Concat<axis = 1>(user, item, user_more)
            y = Conv{attrs}(x, w{bias})
        }}""",
    )
    assert outcome.times == 1
    channels = [(outcome.size_of(n.output[0])[0], outcome.size_of(n.input[1])[1]) for n in outcome.of("Conv")]
    assert sorted((str(rows), width) for rows, width in channels) == [("1", 5), ("B", 1)]


def test_channels_of_a_picture() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,4,5] user, float[B,1,4,5] item) => (float[B,4,3,3] y) <float[4,3,2,3] w> {
            x = Concat<axis = 1>(user, item)
            y = Conv(x, w)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize(
    ("kernel", "call"),
    [("w = Identity(weight)", "Conv<group = 2>(x, w)"), ("w = Tanh(weight)", "Conv(x, w)")],
)
def test_not_channels_in_groups_or_of_a_kernel_that_is_computed(kernel: str, call: str) -> None:
    width = 2 if "group" in call else 4
    outcome = apply(
        RULE,
        f"""score (float[B,3,2] user, float[B,1,2] item, float[4,{width},1] weight) => (float[B,4,2] y) {{
            x = Concat<axis = 1>(user, item)
            {kernel}
            y = {call}
        }}""",
        exact=False,
    )
    assert outcome.times == 0


def test_not_where_windows_slide_over_candidates() -> None:
    outcome = apply(
        RULE,
        """score (float[1,2,B] user, float[1,1,B] item) => (float[1,4,T] y) <float[4,3,1] w> {
            x = Concat<axis = 1>(user, item)
            y = Conv(x, w)
        }""",
    )
    assert outcome.times == 0


@pytest.mark.parametrize("bias", ["", ", b"])
def test_a_filter_as_long_as_the_sequence(bias: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,2,5] user, float[B,2,1] item, float[B,2,2] user_more) => (float[B,4,1] y)
            <float[4,2,8] w, float[4] b> {{
            x = Concat<axis = 2>(user, item, user_more)
            y = Conv(x, w{bias})
        }}""",
    )
    assert outcome.times == 1
    assert sorted(kernels(outcome), key=str) == [("B", 1), (1, 7)]


def test_over_all_fields_of_a_picture() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,5,3] user, float[B,1,2,3] item) => (float[B,4,1,3] y) <float[4,1,7,3] w> {
            x = Concat<axis = 2>(user, item)
            y = Conv<kernel_shape = [7, 3], pads = [0, 1, 0, 1]>(x, w)
        }""",
    )
    assert outcome.times == 1
    assert sorted(kernels(outcome), key=str) == [("B", 2), (1, 5)]


def test_groups() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,5] user, float[B,2,2] item) => (float[B,4,1] y) {
            x = Concat<axis = 2>(user, item)
            y = Conv<group = 2>(x, w)
        }""",
        w=np.arange(28, dtype=np.float32).reshape(4, 1, 7) - 9,
    )
    assert outcome.times == 1


@pytest.mark.parametrize(
    ("attrs", "kernel"),
    [("", 4), ("<pads = [1, 0]>", 7), ("<dilations = [2]>", 4), ("<strides = [7], pads = [0, 7]>", 7)],
)
def test_several_windows_or_padding(attrs: str, kernel: int) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,2,5] user, float[B,2,2] item) => (float[B,4,N] y) <float[4,2,{kernel}] w> {{
            x = Concat<axis = 2>(user, item)
            y = Conv{attrs}(x, w)
        }}""",
    )
    assert outcome.times == 0
