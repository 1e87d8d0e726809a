"""[[a, b], c] = [a, b, c]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "concat-nested"


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["x, item2", "item2, x", "user2, x", "x, user2"])
@pytest.mark.parametrize("axes", [(1, 1), (-1, 1), (1, -1)])
def test_a_mixed_concat_inside(order: str, axes: tuple[int, int]) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item, float[B,1] user2, float[B,4] item2) => (float[B,M] y) {{
            x = Concat<axis = {axes[0]}>(user, item)
            y = Concat<axis = {axes[1]}>({order})
        }}""",
    )
    assert outcome.times == 1
    inner = [node for node in outcome.of("Concat") if "y" in node.output]
    assert len(inner[0].input) == 3


def test_three_deep() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item, float[B,1] user2, float[B,4] item2) => (float[B,10] y) {
            a = Concat<axis = 1>(user, item)
            b = Concat<axis = 1>(a, user2)
            y = Concat<axis = 1>(b, item2)
        }""",
    )
    assert outcome.times == 2
    assert len(next(node for node in outcome.of("Concat") if "y" in node.output).input) == 4


def test_the_same_one_twice() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,10] y) {
            x = Concat<axis = 1>(user, item)
            y = Concat<axis = 1>(x, x)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_along_another_axis() -> None:
    text = """score (float[B,3,5] user, float[B,2,5] item, float[B,5,1] item2) => (float[B,5,6] y) {
        x = Concat<axis = 1>(user, item)
        y = Concat<axis = 2>(x, item2)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("names", [("user", "user2", "item"), ("item", "item2", "user")])
def test_not_where_the_inner_one_is_on_one_side(names: tuple[str, str, str]) -> None:
    text = f"""score (float[B,3] {names[0]}, float[B,2] {names[1]}, float[B,4] {names[2]}) => (float[B,9] y) {{
        x = Concat<axis = 1>({names[0]}, {names[1]})
        y = Concat<axis = 1>(x, {names[2]})
    }}"""
    assert apply(RULE, text).times == 0


def test_not_along_the_candidates() -> None:
    text = """score (float[B,3] user, float[B,3] item, float[B,3] item2) => (float[M,3] y) {
        x = Concat<axis = 0>(user, item)
        y = Concat<axis = 0>(x, item2)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_a_size_is_unknown() -> None:
    text = """score (float[B,N] user, float[B,2] item, float[B,3] item2) => (float[B,M] y) {
        x = Concat<axis = 1>(user, item)
        y = Concat<axis = 1>(x, item2)
    }"""
    assert apply(RULE, text).times == 0
