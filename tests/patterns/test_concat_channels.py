"""conv([u, i]; G) = [conv(u; G_u), conv(i; G_i)]."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply, typed

RULE = "concat-channels"

REFUSED = "a group has channels of both user and item"


def grouped(
    groups: int,
    parts: dict[str, int],
    made: int,
    *,
    kernel: tuple[int, ...] = (1,),
    space: tuple[int, ...] = (1,),
    attrs: str = "",
    bias: bool = True,
    opset: int = 17,
) -> Outcome:
    """A convolution in groups over parts with so many channels each."""
    weight = typed("float", (made, sum(parts.values()) // groups, *kernel))
    inputs = ", ".join(f"{typed('float', ('B', size, *space))} {name}" for name, size in parts.items())
    wide = ", ".join("N" for _ in space)
    return apply(
        RULE,
        f"""score ({inputs}) => (float[B,{made},{wide}] y) <{weight} w, float[{made}] b> {{
            x = Concat<axis = 1>({", ".join(parts)})
            y = Conv<group = {groups}{attrs}>(x, w{", b" if bias else ""})
        }}""".replace("N, N", "N, M"),
        opset=opset,
    )


def groups_of(outcome: Outcome) -> list[tuple[int, object]]:
    """For each convolution how many groups it has, and for how many rows it runs."""
    counts = [next(a.i for a in node.attribute if a.name == "group") for node in outcome.of("Conv")]
    rows = [outcome.size_of(node.output[0])[0] for node in outcome.of("Conv")]
    return sorted((count, str(row)) for count, row in zip(counts, rows, strict=True))


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 17, 22])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("made", [5, 10])
def test_a_layer_for_each_field(made: int, bias: bool, opset: int) -> None:
    outcome = grouped(5, {"user": 6, "item": 4}, made, bias=bias, opset=opset)
    assert outcome.times == 1
    assert groups_of(outcome) == [(2, "B"), (3, "1")]


def test_channels_each_by_themselves() -> None:
    outcome = grouped(5, {"item": 2, "user": 3}, 5)
    assert groups_of(outcome) == [(2, "B"), (3, "1")]


def test_neighbours_of_one_side_stay_together() -> None:
    """Two parts of three channels each are three groups of two."""
    outcome = grouped(6, {"user": 3, "user_more": 3, "item": 2, "user_last": 4}, 6)
    assert outcome.times == 1
    assert groups_of(outcome) == [(1, "B"), (2, "1"), (3, "1")]


@pytest.mark.parametrize(
    "attrs", ["", ", pads = [1, 2]", ', auto_pad = "SAME_UPPER"', ", strides = [2], dilations = [2], pads = [2, 2]"]
)
def test_windows_that_slide(attrs: str) -> None:
    outcome = grouped(3, {"user": 4, "item": 2}, 6, kernel=(3,), space=(7,), attrs=attrs)
    assert outcome.times == 1
    assert groups_of(outcome) == [(1, "B"), (2, "1")]


def test_images() -> None:
    outcome = grouped(2, {"user": 2, "item": 2}, 4, kernel=(2, 3), space=(4, 5))
    assert groups_of(outcome) == [(1, "1"), (1, "B")]


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_a_group_of_both_sides() -> None:
    outcome = grouped(2, {"user": 3, "item": 1}, 4)
    assert outcome.times == 0
    assert outcome.reasons == {REFUSED}


def test_one_group() -> None:
    """That is a sum over both sides, which is another rule's."""
    assert grouped(1, {"user": 3, "item": 1}, 4).times == 0


def test_one_side() -> None:
    assert grouped(2, {"item": 2, "item_more": 2}, 4).times == 0


def test_joined_along_the_sequence() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4,3] user, float[B,4,2] item) => (float[B,4,5] y) <float[4,2,1] w> {
            x = Concat<axis = 2>(user, item)
            y = Conv<group = 2>(x, w)
        }""",
    )
    assert outcome.times == 0


def test_a_kernel_that_is_computed() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,2,3] item, float[2,2,1] kernel) => (float[B,2,3] y) {
            x = Concat<axis = 1>(user, item)
            w = Neg(kernel)
            y = Conv<group = 2>(x, w)
        }""",
    )
    assert outcome.times == 0


def test_numbers_that_are_not_finite_stay_in_their_group() -> None:
    """A group of the user's does not become NaN for an infinite number of the item's."""
    outcome = apply(
        RULE,
        """score (float[B,2,1] user, float[B,2,1] item) => (float[B,2,1] y) <float[2,2,1] w> {
            zero = Sub(item, item)
            inf = Reciprocal(zero)
            x = Concat<axis = 1>(user, inf)
            y = Conv<group = 2>(x, w)
        }""",
        w=np.array([[[1.0], [2.0]], [[0.0], [1.0]]], np.float32),
    )
    assert outcome.times == 1
