"""repeat_b([u, i]_a) = [repeat_b(u), repeat_b(i)]_a."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "concat-expand"


def expanded(outcome: Outcome) -> set[tuple[object, ...]]:
    """The shapes of what is repeated, that of the rows of a candidate aside."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of("Expand") if not node.name.endswith("repeated")]
    return {tuple(d if isinstance(d, int) else "B" for d in shape) for shape in shapes}


@pytest.mark.parametrize("target", ["1, 3, 5, 4", "3, 5, 4", "1, 3, 1, 1", "1, 3, 5, 1"])
def test_heads_that_share_their_keys(target: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,1,3,4] user, float[B,1,2,4] item) => (float[B,3,5,4] y) {{
            x = Concat<axis = 2>(user, item)
            sizes = Constant<value_ints = [{target}]>()
            y = Expand(x, sizes)
        }}""",
    )
    assert outcome.times == 1
    assert {(1, 3, 3, 4), ("B", 3, 2, 4)} <= expanded(outcome)


def test_a_new_axis_in_front() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[2,B,5,4] y) {
            x = Concat<axis = 1>(user, item)
            sizes = Constant<value_ints = [2, 1, 1, 1]>()
            y = Expand(x, sizes)
        }""",
    )
    assert outcome.times == 1
    assert {(2, 1, 3, 4), (2, "B", 2, 4)} <= expanded(outcome)


@pytest.mark.parametrize("times", ["1, 3, 1, 1", "1, 3, 1, 2"])
def test_heads_that_are_repeated_one_after_the_other(times: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,1,3,4] user, float[B,1,2,4] item) => (float[B,3,5,N] y) {{
            x = Concat<axis = 2>(user, item)
            times = Constant<value_ints = [{times}]>()
            y = Tile(x, times)
        }}""",
    )
    assert outcome.times == 1
    assert {outcome.size_of(node.output[0])[2] for node in outcome.of("Tile")} == {2, 3}


def test_tokens_that_are_repeated() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,10,4] y) {
            x = Concat<axis = 1>(user, item)
            times = Constant<value_ints = [1, 2, 1]>()
            y = Tile(x, times)
        }""",
    )
    assert outcome.times == 0


def test_parts_of_one_side() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,3] item, float[B,1,2] item_more) => (float[B,4,5] y) {
            x = Concat<axis = 2>(item, item_more)
            sizes = Constant<value_ints = [1, 4, 1]>()
            y = Expand(x, sizes)
        }""",
    )
    assert outcome.times == 0
