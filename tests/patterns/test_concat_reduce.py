"""sum([u, i]) = sum(u) + sum(i)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns.concat_reduce import COMBINED
from tests.patterns.support import Outcome, apply, rule_named, session, typed

RULE = "concat-reduce"

OPS = pytest.mark.parametrize("op", sorted(COMBINED))
OPSETS = pytest.mark.parametrize("opset", [11, 13, 18])


def reduced(op: str, axes: list[int], *, opset: int = 18, keep: int = 1, more: str = "", outputs: str = "") -> Outcome:
    """The reduction of a user's part of 5 fields, an item's one of 2 and one of 1."""
    as_input = opset >= (13 if op == "ReduceSum" else 18)
    attrs = f"keepdims = {keep}" + ("" if as_input else f", axes = [{', '.join(map(str, axes))}]")
    sizes = [d for i, d in enumerate(["B", 8, 3]) if i not in [a % 3 for a in axes]]
    kept = [1 if i in [a % 3 for a in axes] else d for i, d in enumerate(["B", 8, 3])]
    result = typed("float", kept if keep else sizes)
    return apply(
        RULE,
        f"""score (float[B,5,3] user, float[B,2,3] item, float[B,1,3] item2) => ({result} y{outputs})
        <int64[{len(axes)}] axes = {{{", ".join(map(str, axes))}}}> {{
            c = Concat<axis = 1>(item2, user, item)
            y = {op}<{attrs}>(c{", axes" if as_input else ""})
            {more}
        }}""",
        opset=opset,
        exact=op != "ReduceL2" and (op != "ReduceMean" or len(axes) == 1),
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@OPSETS
@OPS
@pytest.mark.parametrize("keep", [0, 1])
def test_every_reduction(op: str, keep: int, opset: int) -> None:
    outcome = reduced(op, [1], opset=opset, keep=keep)
    assert outcome.times == 1
    made = [outcome.size_of(n.output[0]) for n in outcome.result.graph.node if n.op_type.startswith("Reduce")]
    assert [size[0] for size in made if size].count(1) == 1


@OPS
@pytest.mark.parametrize("axes", [[-2], [1, 2], [-1, -2]])
def test_several_axes(op: str, axes: list[int]) -> None:
    assert reduced(op, axes).times == 1


@OPS
def test_the_concat_is_read_elsewhere(op: str) -> None:
    outcome = reduced(op, [1], more="z = Neg(c)", outputs=", float[B,8,3] z")
    assert outcome.times == 1


def test_a_factorization_machine() -> None:
    outcome = apply(
        [rule_named("concat-elementwise"), rule_named(RULE)],
        """score (float[B,5,3] user, float[B,1,3] item) => (float[B,3] y) <float two = {2}, int64[1] one = {1}> {
            c = Concat<axis = 1>(user, item)
            s = ReduceSum<keepdims = 0>(c, one)
            a = Pow(s, two)
            q = Pow(c, two)
            b = ReduceSum<keepdims = 0>(q, one)
            y = Sub(a, b)
        }""",
    )
    assert outcome.times == 3
    assert all(outcome.size_of(node.output[0]) == (1, 3) for node in outcome.of("ReduceSum"))


def test_a_part_of_no_entries() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2] user, float[B,0] item0, float[B,3] item) => (float[B,1] y) <int64[1] one = {1}> {
            c = Concat<axis = 1>(item0, user, item)
            y = ReduceSum(c, one)
        }""",
        opset=18,
    )
    assert outcome.times == 1


def test_all_candidates_at_once() -> None:
    """Over the candidates as well: the sum of the user's part is B times that of one row."""
    outcome = apply(
        RULE,
        """score (float[B,2] user, float[B,3] item) => (float y) <int64[2] both = {0, 1}> {
            c = Concat<axis = 1>(user, item)
            y = ReduceSum<keepdims = 0>(c, both)
        }""",
    )
    assert outcome.times <= 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@OPS
@pytest.mark.parametrize("axes", [[2], [0]])
def test_not_along_another_axis(op: str, axes: list[int]) -> None:
    assert reduced(op, axes).times == 0


@pytest.mark.parametrize("op", ["ReduceLogSum", "ReduceLogSumExp"])
def test_not_for_logarithms(op: str) -> None:
    text = f"""score (float[B,2] user, float[B,3] item) => (float[B,1] y) <int64[1] one = {{1}}> {{
        u = Exp(user)
        i = Exp(item)
        c = Concat<axis = 1>(u, i)
        y = {op}(c, one)
    }}"""
    assert apply(RULE, text, opset=18, exact=False).times == 0


def test_not_where_all_parts_are_those_of_items() -> None:
    text = """score (float[B,2] item, float[B,3] item2, float[B,1] user) => (float[B,1] y) <int64[1] one = {1}> {
        c = Concat<axis = 1>(item, item2)
        y = ReduceSum(c, one)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_what_is_no_number_reaches_no_more_scores_than_before(op: str) -> None:
    """ONNX Runtime drops a NaN that does not come first on an axis that is not the last one."""
    outcome = apply(
        RULE,
        f"""score (float[B,3,4] user, float[B,2,4] item) => (float[B,1,4] y) <int64[1] one = {{1}}> {{
            c = Concat<axis = 1>(item, user)
            y = {op}(c, one)
        }}""",
        opset=18,
    )
    user = np.ones((1, 3, 4), np.float32)
    user[:, 0] = np.nan
    item = np.zeros((2, 2, 4), np.float32)
    (before,) = session(outcome.original).run(None, {"user": user.repeat(2, 0), "item": item})
    (after,) = session(outcome.result).run(None, {"user": user, "item": item})
    assert np.isfinite(before).all()
    np.testing.assert_array_equal(after, before)


def test_not_for_whole_numbers() -> None:
    text = """score (int64[B,2] item, int64[B,3] user) => (int64[B,1] y) <int64[1] one = {1}> {
        c = Concat<axis = 1>(item, user)
        y = ReduceSum(c, one)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(("op", "times"), [("ReduceL2", 0), ("ReduceSum", 1)])
def test_not_what_leaves_the_range_of_half_precision(op: str, times: int) -> None:
    """A length fits where the sum of its squares does not."""
    outcome = apply(
        RULE,
        f"""score (float16[B,2,3] user, float16[B,1,3] item) => (float16[B,3] y) <int64[1] one> {{
            x = Concat<axis = 1>(user, item)
            y = {op}<keepdims = 0>(x, one)
        }}""",
        opset=18,
        exact=False,
        one=np.array([1]),
    )
    assert outcome.times == times


def test_not_where_axes_are_not_known() -> None:
    text = """score (float[B,2] item, float[B,3] user, int64[1] axes) => (float[B,1] y) {
        a = Abs(axes)
        c = Concat<axis = 1>(item, user)
        y = ReduceSum(c, a)
    }"""
    assert apply(RULE, text, batches=()).times == 0


def test_not_a_reduction_of_nothing() -> None:
    text = """score (float[B,2] item, float[B,3] user) => (float[B,5] y) <int64[0] none = {}> {
        c = Concat<axis = 1>(item, user)
        y = ReduceSum<noop_with_empty_axes = 1>(c, none)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    op=st.sampled_from(sorted(COMBINED)),
    parts=st.lists(st.tuples(st.sampled_from(["user", "item"]), st.integers(1, 3)), min_size=2, max_size=7),
    keep=st.booleans(),
    tail=st.sampled_from([[], [2], ["T"]]),
)
def test_any_parts(op: str, parts: list[tuple[str, int]], keep: bool, tail: list[object]) -> None:
    if all(side == "user" for side, _ in parts):
        return
    names = [f"{side}{index}" for index, (side, _) in enumerate(parts)]
    inputs = [f"{typed('float', ['B', size, *tail])} {n}" for n, (_, size) in zip(names, parts, strict=True)]
    outcome = apply(
        RULE,
        f"""score ({", ".join(inputs)}) => ({typed("float", ["B", *([1] if keep else []), *tail])} y)
        <int64[1] axes = {{1}}> {{
            c = Concat<axis = 1>({", ".join(names)})
            y = {op}<keepdims = {int(keep)}>(c, axes)
        }}""",
        opset=18,
        exact=op not in ("ReduceL2", "ReduceMean", "ReduceProd"),
    )
    assert outcome.times == len({side for side, _ in parts}) - 1
