"""How users name inputs and columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.columns import InputSpec, column_numbers, columns_text, matching, parse_spec, parse_specs
from mari_onnx.errors import UsageError


@pytest.mark.parametrize(
    ("text", "pattern", "columns"),
    [
        ("user", "user", None),
        ("  user ", "user", None),
        ("user_*", "user_*", None),
        ("user_[ab]", "user_[ab]", None),
        ("X[:, 0:12]", "X", " 0:12"),
        ("X[:,0:12,20]", "X", "0:12,20"),
        ("X[ : , 3 ]", "X", " 3 "),
        ("serving/X:0[:, 1]", "serving/X:0", " 1"),
        ("a[b][:, 1]", "a[b]", " 1"),
        ("X*[:, :3]", "X*", " :3"),
    ],
)
def test_what_is_understood(text: str, pattern: str, columns: str | None) -> None:
    assert parse_spec(text) == InputSpec(pattern, columns, text)


@pytest.mark.parametrize(
    ("texts", "specs"),
    [
        (["a,c"], ["a", "c"]),
        (["a", "c,d"], ["a", "c", "d"]),
        ("a,c", ["a", "c"]),
        (["X[:, 0:12,20],a"], ["X[:, 0:12,20]", "a"]),
        (["[a,c]*"], ["[a,c]*"]),
        (["a,b"], ["a,b"]),
        (["c,a,b,d"], ["c", "a,b", "d"]),
        ([" e", "e"], [" e", "e"]),
        (["f[:, 0]"], ["f[:, 0]"]),
    ],
)
def test_several_go_with_commas_that_are_no_part_of_a_name(texts: list[str], specs: list[str]) -> None:
    names = ["a", "b", "a,b", "c", "d", " e", "f[:, 0]"]
    found = list(parse_specs(texts, names))
    assert [spec.text for spec in found] == specs
    assert all(spec.columns is None and spec.pattern == spec.text for spec in found if spec.text in names)


@pytest.mark.parametrize("texts", [[1], 1, [b"user"], [None]])
def test_only_strings_name_inputs(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="inputs are named by strings, as in"):
        list(parse_specs(texts, ["user"]))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("user a", [" user a"]),
        ("user*", [" user a", "user*b"]),
        ("user*b", ["user*b"]),
        ("item", []),
        ("??e? a", [" user a"]),
    ],
)
def test_names_with_spaces_around_them_and_globs(pattern: str, found: list[str]) -> None:
    assert matching(pattern, [" user a", "user*b"]) == found


@pytest.mark.parametrize("text", ["", "   ", "X[:]", "X[0:3]", "X[0, 1:2]", "X[:, 0:3", "X[:, [0,1]]"])
def test_what_is_not(text: str) -> None:
    with pytest.raises(UsageError, match="does not name an input"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        ("3", [3]),
        ("0:3", [0, 1, 2]),
        (":3", [0, 1, 2]),
        ("7:", [7, 8, 9]),
        (":", list(range(10))),
        ("0:2,5,8:", [0, 1, 5, 8, 9]),
        ("-1", [9]),
        ("-3:", [7, 8, 9]),
        (":-8", [0, 1]),
        ("-10", [0]),
        ("5,5,4:6", [4, 5]),
        ("8,1", [1, 8]),
        ("0:10", list(range(10))),
        ("10:,3", [3]),
    ],
)
def test_numbers(columns: str, numbers: list[int]) -> None:
    assert column_numbers(parse_spec(f"X[:, {columns}]"), 10) == tuple(numbers)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ("10", "no column 10"),
        ("-11", "no column -11"),
        ("0:11", "outside"),
        ("11:", "outside"),
        ("", "neither a column number nor a slice"),
        ("a", "neither a column number nor a slice"),
        ("1:2:3", "neither a column number nor a slice"),
        ("1,,2", "neither a column number nor a slice"),
        ("1.5", "neither a column number nor a slice"),
        ("3:3", "names no column"),
        ("5:2", "names no column"),
        ("10:", "names no column"),
    ],
)
def test_what_lies_outside_or_makes_no_sense(columns: str, complaint: str) -> None:
    text = f"X[:, {columns}]"
    with pytest.raises(UsageError, match=complaint) as caught:
        column_numbers(parse_spec(text), 10)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "text"), [((3,), "3"), ((0, 1, 2), "0:3"), ((0, 2, 3, 4, 9), "0,2:5,9"), ((1, 3, 5), "1,3,5")]
)
def test_the_shortest_way_to_type_them(numbers: tuple[int, ...], text: str) -> None:
    assert columns_text(numbers) == text


@given(st.sets(st.integers(0, 30), min_size=1))
def test_there_and_back(numbers: set[int]) -> None:
    wanted = tuple(sorted(numbers))
    assert column_numbers(parse_spec(f"X[:, {columns_text(wanted)}]"), 31) == wanted
