"""x W_e for all e = x [W_1, .., W_e]."""

from __future__ import annotations

import itertools

import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, rule_named, sides_of, typed

RULE = "experts"

SIZES = {"b": "B", "t": 3, "d": 4, "f": 2, "e": 5, "h": 6}


def einsum(rows: str, columns: str, result: str, *, swapped: bool = False, opset: int = 17) -> int:
    """How often the rule applies to an Einsum of an item with a weight."""
    equation, order = f"{rows},{columns}->{result}", "item, w"
    if swapped:
        equation, order = f"{columns},{rows}->{result}", "w, item"
    return apply(
        RULE,
        f"""score ({typed("float", [SIZES[c] for c in rows])} item, float[B,1] user)
        => ({typed("float", [SIZES[c] for c in result])} y) <{typed("float", [SIZES[c] for c in columns])} w> {{
            y = Einsum<equation = "{equation}">({order})
        }}""",
        opset=opset,
    ).times


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [12, 13, 17])
@pytest.mark.parametrize("columns", ["".join(c) for c in itertools.permutations("deh")])
@pytest.mark.parametrize("result", ["".join(c) for c in itertools.permutations("beh")])
def test_experts_in_any_layout(columns: str, result: str, opset: int) -> None:
    assert einsum("bd", columns, result, opset=opset) == 1


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns", "result"),
    [
        ("btd", "edh", "bteh"),
        ("btd", "edh", "beth"),
        ("bfd", "fdh", "bh"),
        ("btfd", "edfh", "bteh"),
        ("bd", "hd", "bh"),
    ],
)
def test_more_axes(rows: str, columns: str, result: str, swapped: bool) -> None:
    assert einsum(rows, columns, result, swapped=swapped) == 1


def test_the_product_splits() -> None:
    outcome = apply(
        [rule_named(RULE), rule_named("split-product")],
        """score (float[B,7] user, float[B,2] item) => (float[B,5,6] y) <float[5,9,6] w> {
            c = Concat<axis = 1>(user, item)
            y = Einsum<equation = "bd,edh->beh">(c, w)
        }""",
    )
    assert [a.rule for a in outcome.applied] == [RULE, "split-product"]
    assert outcome.ops["Einsum"] == 0


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "result"),
    [
        ("btd", "tdh", "bth"),  # one weight for each token
        ("bdt", "edh", "bteh"),  # what is summed over stands in the middle
        ("btd", "edh", "beh"),  # tokens are summed up as well
        ("bd", "eh", "bdeh"),  # nothing is summed over
        ("bd", "dh", "bh"),  # a plain product
    ],
)
def test_not_for_others(rows: str, columns: str, result: str) -> None:
    assert einsum(rows, columns, result) == 0


@pytest.mark.parametrize("equation", ["...d,edh->...eh", "bd,edh"])
def test_not_for_other_notations(equation: str) -> None:
    text = f"""score (float[B,4] item, float[B,1] user) => (float[B,5,6] y) <float[5,4,6] w> {{
        y = Einsum<equation = "{equation}">(item, w)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_without_a_weight() -> None:
    text = """score (float[B,4] item, float[5,4,6] w, float[B,1] user) => (float[B,5,6] y) {
        y = Einsum<equation = "bd,edh->beh">(item, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_for_what_is_computed_once() -> None:
    text = """score (float[B,4] user, float[B,1] item) => (float[B,5,6] y) <float[5,4,6] w> {
        u = Einsum<equation = "bd,edh->beh">(user, w)
        i = Unsqueeze(item, two)
        y = Add(u, i)
    }""".replace("<float[5,4,6] w>", "<float[5,4,6] w, int64[1] two = {2}>")
    assert apply(RULE, text).times == 0


def test_an_open_size_may_be_one() -> None:
    """Then Einsum repeats the entry for all rows of the weight."""
    text = """score (float[B,D] item, float[B,1] user) => (float[B,5,6] y) <float[5,3,6] w> {
        y = Einsum<equation = "bd,edh->beh">(item, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_kept_alone() -> None:
    model = model_of(
        """score (float[B,4] item, float[B,1] user) => (float[B,5,6] y) <float[5,4,6] w> {
            y = Einsum<equation = "bd,edh->beh">(item, w)
        }"""
    )
    workspace = at_work(model, sides_of(model))
    assert not rewrite(workspace, RULES, CostModel()).applied
