"""conv([u, i]_c, W) = conv(u, W_u) + conv(i, W_i)."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "split-channels"


def split(attrs: str = "", *, bias: str = "", more: str = "", result: str = "B,4,T", opset: int = 17) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,2,6] user, float[B,1,6] item, float[B,3,6] user_more) => (float[{result}] y)
            <float[4,6,3] w, float[4] b> {{
            x = Concat<axis = 1>(user, item, user_more) {more}
            y = Conv{attrs}(x, w{bias})
        }}""",
        opset=opset,
    )


def channels(outcome: Outcome) -> set[tuple[object, object]]:
    """For each convolution whether it runs for every candidate, and how many channels it reads."""
    return {(outcome.size_of(n.output[0])[0] != 1, outcome.size_of(n.input[1])[1]) for n in outcome.of("Conv")}


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(
    "attrs",
    [
        "",
        "<pads = [1, 1]>",
        "<pads = [2, 0], strides = [2]>",
        "<dilations = [2]>",
        '<auto_pad = "SAME_UPPER">',
        '<auto_pad = "VALID", kernel_shape = [3]>',
    ],
)
def test_the_users_channels_are_read_once(attrs: str, bias: str) -> None:
    outcome = split(attrs, bias=bias)
    assert outcome.times == 1
    assert channels(outcome) == {(False, 5), (True, 1)}


def test_pictures() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,5,3] user, float[B,2,5,3] item) => (float[B,4,N,M] y) <float[4,3,2,2] w> {
            x = Concat<axis = 1>(item, user)
            y = Conv(x, w)
        }""",
    )
    assert outcome.times == 1
    assert channels(outcome) == {(False, 1), (True, 2)}


def test_not_in_groups() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,6] user, float[B,2,6] item) => (float[B,4,T] y) <float[4,2,3] w> {
            x = Concat<axis = 1>(user, item)
            y = Conv<group = 2>(x, w)
        }""",
    )
    assert outcome.times == 0


def test_not_on_the_axis_of_the_windows() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,6] user, float[B,2,6] item) => (float[B,4,T] y) <float[4,2,3] w> {
            x = Concat<axis = 2>(user, item)
            y = Conv(x, w)
        }""",
    )
    assert outcome.times == 0


def test_not_where_the_kernel_is_computed() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,6] user, float[B,1,6] item, float[4,3,3] kernel) => (float[B,4,T] y) {
            x = Concat<axis = 1>(user, item)
            y = Conv(x, kernel)
        }""",
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
