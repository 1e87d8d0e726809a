"""R([u, i]; h) = [R(u; h), R(i; last of R(u; h))]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "continued-recurrence"

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
every_operator = pytest.mark.parametrize("op", GATES)


def weights(op: str, directions: int = 1, hidden: int = 3, width: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    gates = GATES[op] * hidden
    shapes = {"w": (gates, width), "r": (gates, hidden), "c": (2 * gates,)}
    return {name: random.normal(size=(directions, *shape)).astype(np.float32) for name, shape in shapes.items()}


def run(
    op: str, call: str = "t, w, r, c", *, parts: str = "user, item", directions: int = 1, **settings: Any
) -> Outcome:
    attrs = settings.pop("attrs", "")
    return apply(
        RULE,
        f"""score (float[4,B,2] user, float[2,B,2] item, float[1,B,3] user_state, float[1,B,3] item_state)
            => (float[S,{directions},B,3] y, float[{directions},B,3] h) {{
            t = Concat<axis = 0>({parts})
            y, h = {op}<hidden_size = 3{attrs}>({call})
        }}""",
        exact=False,
        **weights(op, directions),
        **settings,
    )


def steps(outcome: Outcome, op: str) -> list[tuple[object, object]]:
    """For each node of an operator, in order, how many steps it takes and for how many candidates."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of(op)]
    return [(shape[0], shape[2] if isinstance(shape[2], int) else "B") for shape in shapes]


# -- fires -------------------------------------------------------------------------------------------------------------


@every_operator
def test_the_history_runs_once(op: str) -> None:
    outcome = run(op)
    assert outcome.times == 1
    assert steps(outcome, op) == [(4, 1), (2, "B")]


@every_operator
def test_backwards_from_the_users_end(op: str) -> None:
    outcome = run(op, parts="item, user", attrs=', direction = "reverse"')
    assert outcome.times == 1
    assert sorted(map(str, steps(outcome, op))) == ["(2, 'B')", "(4, 1)"]


@every_operator
def test_a_state_of_the_user_to_begin_with(op: str) -> None:
    states = "user_state, user_state" if op == "LSTM" else "user_state"
    outcome = run(op, f't, w, r, c, "", {states}')
    assert outcome.times == 1
    assert steps(outcome, op) == [(4, 1), (2, "B")]


def test_the_user_on_both_sides_of_the_item() -> None:
    outcome = run("GRU", parts="user, item, user")
    assert outcome.times == 1
    assert steps(outcome, "GRU") == [(4, 1), (6, "B")]


def test_settings_are_kept() -> None:
    assert run("GRU", attrs=", linear_before_reset = 1, clip = 0.5").times == 1


def test_all_three_outputs() -> None:
    outcome = apply(
        RULE,
        """score (float[4,B,2] user, float[2,B,2] item) => (float[6,1,B,3] y, float[1,B,3] h, float[1,B,3] s) {
            t = Concat<axis = 0>(user, item)
            y, h, s = LSTM<hidden_size = 3>(t, w, r)
        }""",
        exact=False,
        **{name: array for name, array in weights("LSTM").items() if name != "c"},
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"parts": "item, user"},
        {"attrs": ', direction = "reverse"'},
        {"attrs": ', direction = "bidirectional"', "directions": 2},
        {"call": 't, w, r, c, "", item_state'},
        {"parts": "item, item"},
    ],
    ids=str,
)
def test_what_begins_with_the_item(settings: dict[str, Any]) -> None:
    assert run("GRU", **settings).times == 0


def test_sequences_of_their_own_lengths() -> None:
    outcome = apply(
        RULE,
        """score (float[4,B,2] user, float[2,B,2] item, int32[B] item_lengths) => (float[1,B,3] h) {
            t = Concat<axis = 0>(user, item)
            one = Constant<value_ints = [1]>()
            small = Cast<to = 6>(one)
            lengths = Max(item_lengths, small)
            every, h = GRU<hidden_size = 3>(t, w, r, c, lengths)
        }""",
        exact=False,
        **weights("GRU"),
    )
    assert outcome.times == 0
