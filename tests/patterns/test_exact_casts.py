"""int(float(n)) = n, where larger numbers are all alike."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "exact-casts"
DECLARED = """<float[4,3] table, int64[1] zero = {0}, int64[1] few = {16777215}, int64[1] many = {16777216},
    int64[2] column = {-1, 1}, int64[1] flat = {-1}, int64[1] axis = {1}>"""


def text_of(lines: str, *, ids: str = "int64", result: str = "float[B,3]") -> str:
    return f"score ({ids}[B] item, float[B,3] item_x) => ({result} z) {DECLARED} {{ {lines} }}"


GATHERED = "e = Gather<axis = 0>(table, n) z = Mul(e, item_x)"


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        (f"f = Cast<to = 1>(item) n = Cast<to = 7>(f) {GATHERED}", "int64"),
        (f"f = Cast<to = 1>(item) n = Cast<to = 6>(f) {GATHERED}", "int32"),
        (f"f = Cast<to = 11>(item) n = Cast<to = 7>(f) {GATHERED}", "int64"),
        (f"f = Cast<to = 1>(item) c = Reshape(f, column) v = Reshape(c, flat) n = Cast<to = 7>(v) {GATHERED}", "int64"),
        (f"f = Cast<to = 1>(item) c = Unsqueeze(f, axis) m = Cast<to = 7>(c) n = Squeeze(m, axis) {GATHERED}", "int64"),
        ("f = Cast<to = 1>(item) n = Cast<to = 7>(f) m = Equal(n, zero) c = Cast<to = 1>(m) d = Unsqueeze(c, axis) "
         "z = Mul(d, item_x)", "int64"),
        ("f = Cast<to = 1>(item) n = Cast<to = 7>(f) m = Less(few, n) c = Cast<to = 1>(m) d = Unsqueeze(c, axis) "
         "z = Mul(d, item_x)", "int32"),
    ],
)  # fmt: skip
def test_nobody_can_tell(lines: str, ids: str) -> None:
    assert apply(RULE, text_of(lines, ids=ids)).times >= 1


def test_another_whole_type_is_cast_at_once() -> None:
    outcome = apply(RULE, text_of(f"f = Cast<to = 1>(item) n = Cast<to = 7>(f) {GATHERED}", ids="int32"))
    assert outcome.times == 1
    assert outcome.ops["Cast"] == 1


@pytest.mark.parametrize(
    "lines",
    [
        "f = Cast<to = 1>(item) n = Cast<to = 7>(f) c = Cast<to = 1>(n) d = Unsqueeze(c, axis) z = Mul(d, item_x)",
        "f = Cast<to = 1>(item) n = Cast<to = 7>(f) m = Equal(n, many) c = Cast<to = 1>(m) d = Unsqueeze(c, axis) "
        "z = Mul(d, item_x)",
        "f = Cast<to = 1>(item) h = Mul(f, f) n = Cast<to = 7>(h) m = Equal(n, zero) c = Cast<to = 1>(m) "
        "d = Unsqueeze(c, axis) z = Mul(d, item_x)",
        "h = Cast<to = 7>(item_x) f = Cast<to = 1>(h) z = Mul(f, item_x)",
    ],
)
def test_somebody_could(lines: str) -> None:
    assert apply(RULE, text_of(lines)).times == 0


LESS = "m = Less(n, few) c = Cast<to = 1>(m) d = Unsqueeze(c, axis) z = Mul(d, item_x)"


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        # 2^63 - 1 becomes 2^63, which no int64 is, and comes back as the lowest number.
        (f"f = Cast<to = 1>(item) n = Cast<to = 7>(f) {LESS}", "int64"),
        # 65520 is infinite in half precision.
        (f"f = Cast<to = 10>(item) n = Cast<to = 7>(f) {LESS}", "int32"),
        # 2^32 + 5 would be 5.
        (f"f = Cast<to = 1>(item) n = Cast<to = 6>(f) {GATHERED}", "int64"),
    ],
)
def test_numbers_that_leave_their_type(lines: str, ids: str) -> None:
    assert apply(RULE, text_of(lines, ids=ids)).times == 0


def test_a_table_of_more_rows_than_the_type_can_number() -> None:
    text = f"""score (int64[B] item, float[B,1] item_x) => (float[B,1] z) <float[2049,1] table> {{
        f = Cast<to = 10>(item) n = Cast<to = 7>(f) {GATHERED} }}"""
    assert apply(RULE, text).times == 0
    assert apply(RULE, text.replace("2049", "2048")).times == 1


def test_an_output_is_as_it_was() -> None:
    text = """score (int64[B] item) => (int64[B] n) {
        f = Cast<to = 1>(item) n = Cast<to = 7>(f) }"""
    assert apply(RULE, text).times == 0
