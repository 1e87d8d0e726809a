"""table[(j)] = table[j]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "plain-lookup"


@pytest.mark.parametrize(("ids", "shape"), [("int64[B,1]", "B,3"), ("int64[B,5,1]", "B,5,3")])
def test_rows_of_a_table(ids: str, shape: str) -> None:
    outcome = apply(
        RULE, f"score ({ids} item) => (float[{shape}] z) <float[4,3] t> {{ g = GatherND(t, item) z = Neg(g) }}"
    )
    assert outcome.times == 1
    assert outcome.ops["GatherND"] == 0


def test_rows_of_a_users_table() -> None:
    text = """score (float[B,3] user, int64[B,1] item) => (float[B,3] z) <int64[1] axis = {1}> {
        h = Abs(user) r = GatherND(h, item) z = Neg(r) }"""
    assert apply(RULE, text, batches=(4, 7)).times == 1


@pytest.mark.parametrize(
    "text",
    [
        "score (int64[B,2] item) => (float[B] z) <float[4,4] t> { g = GatherND(t, item) z = Neg(g) }",
        """score (float[B,4] item, int64[B,1] item_j) => (float[B] z) {
            g = GatherND<batch_dims = 1>(item, item_j) z = Neg(g) }""",
    ],
)
def test_other_lookups(text: str) -> None:
    assert apply(RULE, text).times == 0
