"""GN([u, i]) = [GN(u), GN(i)]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "concat-groupnorm"


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [2, 4, 6])
@pytest.mark.parametrize("parts", ["user, item", "item, user"])
def test_groups_of_one_side(groups: int, parts: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,6,5] user, float[B,6,5] item) => (float[B,12,5] y) <float[12] g, float[12] b> {{
            x = Concat<axis = 1>({parts})
            y = GroupNormalization<num_groups = {groups}, epsilon = 0.01>(x, g, b)
        }}""",
        opset=21,
        exact=False,
    )
    assert outcome.times == 1
    made = outcome.of("GroupNormalization")
    assert sum(a.i for n in made for a in n.attribute if a.name == "num_groups") == groups


@pytest.mark.parametrize("parts", ["user, item", "item, user", "user, item, user2"])
def test_channels(parts: str) -> None:
    width = 3 * len(parts.split())
    outcome = apply(
        RULE,
        f"""score (float[B,3,5] user, float[B,3,5] item, float[B,3,5] user2) => (float[B,{width},5] y)
        <float[{width}] g, float[{width}] b> {{
            x = Concat<axis = 1>({parts})
            y = InstanceNormalization(x, g, b)
        }}""",
        exact=False,
    )
    assert outcome.times == 1
    once = [n for n in outcome.of("InstanceNormalization") if outcome.size_of(n.output[0])[0] == 1]
    assert once


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_a_group_has_channels_of_both() -> None:
    text = """score (float[B,3,5] user, float[B,5,5] item) => (float[B,8,5] y) <float[8] g, float[8] b> {
        x = Concat<axis = 1>(user, item)
        y = GroupNormalization<num_groups = 4>(x, g, b)
    }"""
    outcome = apply(RULE, text, opset=21, exact=False)
    assert outcome.times == 0
    assert outcome.reasons == {"a group has channels of both user and item"}


def test_not_along_another_axis() -> None:
    text = """score (float[B,4,3] user, float[B,4,5] item) => (float[B,4,8] y) <float[4] g, float[4] b> {
        x = Concat<axis = 2>(user, item)
        y = InstanceNormalization(x, g, b)
    }"""
    assert apply(RULE, text, exact=False).times == 0
