"""x_1 . y_1 + x_2 . y_2 = [x_1, x_2] . [y_1, y_2]."""

from __future__ import annotations

import itertools

import pytest

from mari_onnx.patterns import RULES
from tests.patterns.support import apply

RULE = "dot-sum"
USER_AND_ITEM = "float[B,3] user, float[B,5] user_2, float[B,3] item, float[B,5] item_2"


def text_of(work: str, *, inputs: str = USER_AND_ITEM, result: str = "B") -> str:
    return f"""score ({inputs}) => (float[{result}] z) <int64[1] last = {{-1}}, float[3,1] w, float[5,1] v> {{
        {work} z = Neg(s)
    }}"""


def dots(*pairs: str, keepdims: int = 0) -> str:
    """Dot products ``d0``, ``d1``, .. of pairs of values."""
    return "\n".join(
        f"m{n} = Mul({pair}) d{n} = ReduceSum<keepdims = {keepdims}>(m{n}, last)" for n, pair in enumerate(pairs)
    )


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("pairs", [("item, user", "user_2, item_2"), ("item, item", "item_2, item_2")])
def test_of_one_side(pairs: tuple[str, ...], keepdims: int) -> None:
    work = dots(*pairs, keepdims=keepdims) + "s = Add(d0, d1)"
    outcome = apply(RULE, text_of(work, result="B,1" if keepdims else "B"))
    assert outcome.times == 1
    assert outcome.ops["ReduceSum"] == outcome.ops["Mul"] == 1


@pytest.mark.parametrize(("number", "times"), [("Neg(given)", 1), ("Log(given)", 0)])
def test_numbers_that_may_be_infinite_stay_outside(number: str, times: int) -> None:
    """Entries of either sign would meet them first, and an infinite score would be no number."""
    inputs = "float[B,3] user, float[1] given, float[B,3] item, float[B,3] item_2"
    work = dots("item, user", "item_2, user") + f"n = {number} e0 = Mul(d0, n) s = Add(e0, d1)"
    assert apply(RULE, text_of(work, inputs=inputs), exact=False).times == times


def test_of_the_user() -> None:
    inputs = "float[B,3] user, float[B,5] user_2, float[B] item"
    outcome = apply(
        RULE, text_of(dots("user, user", "user_2, user_2") + "t = Add(d0, d1) s = Mul(t, item)", inputs=inputs)
    )
    assert outcome.times == 1
    [product] = outcome.of("ReduceSum")
    assert outcome.size_of(product.output[0]) == (1,)


@pytest.mark.parametrize(
    "total",
    [
        "t = Add(d0, d1) u = Add(t, d2) s = Add(u, d3)",
        "t = Add(d0, d3) u = Add(d2, d1) s = Add(u, t)",
        "s = Sum(d3, d0, d1, d2)",
        "t = Sum(d3, d0) s = Sum(d1, t, d2)",
    ],
)
def test_each_side_apart(total: str) -> None:
    outcome = apply(RULE, text_of(dots("item, user", "item, item", "user_2, item_2", "item_2, item_2") + total))
    assert outcome.times == 1
    assert outcome.ops["ReduceSum"] == outcome.ops["Mul"] == 2
    assert outcome.ops["Add"] == 1


def test_what_else_is_added_stays() -> None:
    inputs = USER_AND_ITEM + ", float[B] user_3, float[1] once"
    work = dots("item, user", "item_2, user_2") + "t = Add(d0, user_3) u = Add(t, once) r = Add(d1, u) s = Add(r, once)"
    outcome = apply(RULE, text_of(work, inputs=inputs))
    assert outcome.times == 1
    assert outcome.ops["ReduceSum"] == 1


@pytest.mark.parametrize("opset", [11, 17])
def test_products_with_columns_of_the_user(opset: int) -> None:
    work = """a = Transpose<perm = [1, 0]>(once) b = Transpose<perm = [1, 0]>(once_2)
        d0 = MatMul(item, a) d1 = MatMul(item_2, b) s = Add(d0, d1)"""
    inputs = "float[1,3] once, float[1,5] once_2, float[B,3] item, float[B,5] item_2"
    outcome = apply(RULE, text_of(work, inputs=inputs, result="B,1"), opset=opset)
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1


@pytest.mark.parametrize("keepdims", [0, 1])
def test_dot_products_side_by_side(keepdims: int) -> None:
    work = dots("item, user", "user_2, item_2", keepdims=1)
    work += f" e = Concat<axis = -1>(d0, d1) s = ReduceSum<keepdims = {keepdims}>(e, last)"
    result = "B,1" if keepdims else "B"
    outcome = apply(RULE, text_of(work, result=result))
    assert outcome.times == 1
    assert outcome.ops["ReduceSum"] == 1
    assert (
        apply(
            RULE, text_of(work.replace(" s =", " f = Abs(e) s =").replace("(e, last)", "(f, last)"), result=result)
        ).times
        == 0
    )


def test_several_rows_of_each_candidate() -> None:
    inputs = "float[B,4,3] item, float[1,1,3] once, float[B,4,5] item_2, float[1,1,5] once_2"
    outcome = apply(
        RULE, text_of(dots("item, once", "item_2, once_2") + "s = Add(d1, d0)", inputs=inputs, result="B,4")
    )
    assert outcome.times == 1


@pytest.mark.parametrize(
    "work",
    [
        dots("item, user") + "s = Add(d0, d0)",  # added twice
        dots("item, user", "item_2, user_2") + "s = Sub(d0, d1)",
        dots("item, user", "item_2, item_2") + "s = Add(d0, d1)",  # one of each side
        dots("item, user", "item_2, user_2") + "t = Add(d0, d1) u = Neg(d0) s = Add(t, u)",  # somebody else reads one
        dots("item, user", "item_2, user_2").replace("Mul", "Add") + "s = Add(d0, d1)",
        dots("item, user", "item_2, user_2").replace("last", "first") + "t = Add(d0, d1) s = ReduceSum(t)",
        "a = MatMul(item, w) b = MatMul(item_2, v) c = Add(a, b) s = Squeeze(c, last)",  # weights
    ],
)
def test_other_sums(work: str) -> None:
    text = text_of(work)
    if "first" in work:
        text = text.replace("int64[1] last", "int64[1] first = {0}, int64[1] last").replace("float[B] z", "float[1] z")
        text = text.replace("float[B,5]", "float[B,3]")
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("opset", [11, 17])
def test_an_operand_that_several_have_is_multiplied_once(opset: int) -> None:
    inputs = "float[B,3] item, float[1,3] once, float[1,3] once_2, float[1,3] once_3, float[B,3] item_2"
    work = dots("item, once", "once_2, item", "item_2, once_3", "item, once_3")
    work += "t = Add(d0, d1) u = Add(d2, d3) s = Add(t, u)"
    if opset < 13:
        work = work.replace(", last)", ")").replace("<keepdims", "<axes = [-1], keepdims")
    outcome = apply(RULE, text_of(work, inputs=inputs), opset=opset)
    assert outcome.times == 1
    [product] = outcome.of("Mul")
    assert outcome.size_of(product.output[0])[1:] == (6,)
    # What is added are three rows of the user.
    assert [outcome.size_of(n.output[0]) for n in outcome.of("Add")] == [(1, 3)] * 2


SCALED = "float[B,3] user, float[B,3] item, float[B,3] item_2, float[1,3] once, float[1,3] once_2, float[1,3] once_3"


@pytest.mark.parametrize(
    ("pairs", "scales", "products"),
    [
        (("item, once", "item_2, once_2"), ("two", "three"), 3),
        (("item, once", "item_2, once_2"), ("given", "two"), 3),
        (("item, once", "item_2, once_2"), ("two", ""), 2),
        (("item, item", "item_2, item"), ("two", "three"), 3),
        (("item, once", "item, once_2", "item, once_3"), ("two", "three", "given"), 1),  # a product with rows instead
    ],
)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_weights_of_pairs(pairs: tuple[str, ...], scales: tuple[str, ...], products: int, keepdims: int) -> None:
    work = dots(*pairs, keepdims=keepdims)
    work += " ".join(f"e{n} = Mul({scale}, d{n})" if scale else f"e{n} = Abs(d{n})" for n, scale in enumerate(scales))
    work = work.replace("e1 = Abs(d1)", "").replace("d1 =", "e1 =") if "" in scales else work
    work += f" s = Sum({', '.join(f'e{n}' for n in range(len(pairs)))})"
    text = text_of(work, inputs=SCALED + ", float[1] given", result="B,1" if keepdims else "B")
    outcome = apply(RULE, text.replace("<int64[1]", "<float[1] two = {2}, float three = {3}, int64[1]", 1))
    assert outcome.times == 1
    assert outcome.ops["ReduceSum"] == 1
    assert outcome.ops["Mul"] == products


@pytest.mark.parametrize("scale", ["item_4", "once_4"])
def test_other_scales(scale: str) -> None:
    work = dots("item, once", "item_2, once_2", keepdims=1) + f"e = Mul(d0, {scale}) s = Add(e, d1)"
    inputs = SCALED + ", float[B,1] item_4, float[1,1,1] once_4"
    text = text_of(work, inputs=inputs, result="1,B,1" if scale == "once_4" else "B,1")
    assert apply(RULE, text).times == 0


def test_operands_on_neither_side_yet() -> None:
    work = "c = Concat<axis = 1>(user, item) a = Slice(c, i0, i3, i1) b = Slice(c, i3, i6, i1)" + dots(
        "item, a", "item, b"
    )
    text = text_of(work + "s = Add(d0, d1)").replace("<int64[1]", "<int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1]", 1)
    text = text.replace("<int64[1]", "<int64[1] i3 = {3}, int64[1] i6 = {6}, int64[1]", 1)
    assert apply(RULE, text).times == 0
    assert apply(RULE, text.replace("Concat<axis = 1>(user, item)", "Concat<axis = 1>(item, item)")).times == 1


def test_rows_of_different_shapes_are_not_joined() -> None:
    inputs = "float[B,4,3] item, float[1,1,3] once, float[B,4,5] item_2, float[1,4,5] once_2"
    outcome = apply(
        RULE, text_of(dots("item, once", "item_2, once_2") + "s = Add(d1, d0)", inputs=inputs, result="B,4")
    )
    assert outcome.times == 0


def test_a_loop_over_pairs_of_fields() -> None:
    # As a field-aware factorization machine has it: each field has a vector for each of the others.
    fields = ("user", "user_2", "item", "item_2")
    work, terms = "", []
    for (i, one), (j, other) in itertools.combinations(enumerate(fields), 2):
        pair = f"{i}{j}"
        work += f"""x{pair} = Gather<axis = 1>({one}, i{j}) y{pair} = Gather<axis = 1>({other}, i{i})
            m{pair} = Mul(x{pair}, y{pair}) d{pair} = ReduceSum<keepdims = 0>(m{pair}, last)"""
        terms.append(f"d{pair}")
    for n, term in enumerate(terms[1:]):
        work += f" s{n} = Add({terms[0] if not n else f's{n - 1}'}, {term})"
    inputs = ", ".join(f"float[B,4,3] {f}" for f in fields)
    text = f"""score ({inputs}) => (float[B] z)
        <int64[1] last = {{-1}}, {", ".join(f"int64 i{n} = {{{n}}}" for n in range(4))}> {{
        {work} z = Neg(s{len(terms) - 2})
    }}"""
    outcome = apply(RULES, text)
    assert sum(applied.rule == RULE for applied in outcome.applied) >= 1
    # One product of user and item; what else there is has one pair.
    assert outcome.ops["MatMul"] + outcome.ops["ReduceSum"] == 3
