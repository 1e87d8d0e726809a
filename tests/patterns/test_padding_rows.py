"""softmax([s, low]) = softmax([s, -inf]), and rows without any s are not read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from unittest import mock

import numpy as np
import onnx
import pytest

from mari_onnx.patterns import RULES
from mari_onnx.patterns._unread import Unread
from mari_onnx.pipeline import optimize
from tests.patterns.support import Outcome, apply, requests, session, sides_of, typed

RULE = "padding-rows"

F32 = np.float32
LOWEST = np.finfo(F32).min
T = 4
"""Tokens, the last of them the item's."""

CAUSAL = np.tril(np.ones((T, T), np.bool_))
OWN = np.arange(T) == T - 1

WHERE = "both = And(causal, k) a{n} = Where(both, s{n}, low)"
ADDED = "both = And(causal, k) m{n} = Where(both, zero, low) a{n} = Add(s{n}, m{n})"
ADDED_FIRST = "both = And(causal, k) m{n} = Where(both, zero, low) a{n} = Add(m{n}, s{n})"
NESTED = "i{n} = Where(causal, s{n}, low) a{n} = Where(k, i{n}, low)"
PADDING = "f{n} = Cast<to = {kind}>(k) h{n} = Sub(one, f{n}) d{n} = Mul(h{n}, low)"
SUM = PADDING + " c{n} = Where(causal, zero, low) m{n} = Add(c{n}, d{n}) a{n} = Add(s{n}, m{n})"
ONE_EACH = PADDING + " i{n} = Where(causal, s{n}, low) a{n} = Add(i{n}, d{n})"
LATER = "i{n} = Where(k, s{n}, low) a{n} = Add(i{n}, future)"
FAR = "both = And(causal, k) m{n} = Where(both, zero, far) a{n} = Add(s{n}, m{n})"
HIDDEN = "g{n} = Not(k) hidden{n} = Not(causal) both{n} = Or(g{n}, hidden{n}) a{n} = Where(both{n}, low, s{n})"
MASKS = {
    "where": WHERE,
    "added": ADDED,
    "added first": ADDED_FIRST,
    "nested": NESTED,
    "sum": SUM,
    "one each": ONE_EACH,
    "later": LATER,
    "far": FAR,
    "hidden": HIDDEN,
}

SEEN = "seen = Or(user_seen, own)"
LAST = "y = Gather<axis = 1>(x2, last)"
WEIGHTS = {
    "causal": CAUSAL,
    "own": OWN,
    "last": np.array(T - 1),
    "first": np.array(0),
    "axis": np.array([1]),
    "zero": np.array(0, F32),
    "one": np.array(1, F32),
    "low": np.array(LOWEST),
    "far": np.array(-1e9, F32),
    "future": np.where(CAUSAL, F32(0), LOWEST),
    "endless": np.array(-np.inf, F32),
    "from_last": np.array([T - 1]),
    "to_first": np.array([-T - 1]),
    "backwards": np.array([-1]),
    "rows": np.array([1, 2, 3]),
    "flat": np.array([-1, 2]),
    "apart": np.array([-1, T, 2]),
}


def attention(n: int, mask: str, *, kind: int = 1) -> str:
    """A layer: x of number ``n`` becomes that of the next number."""
    body = f"""q{n} = MatMul(x{n}, w) t{n} = Transpose<perm = [0, 2, 1]>(x{n}) s{n} = MatMul(q{n}, t{n})
        {mask.format(n=n, kind=kind)} p{n} = Softmax(a{n}) z{n} = MatMul(p{n}, x{n})"""
    return f"{body} x{n + 1} = Add(x{n}, z{n})"


def text(
    mask: str = WHERE,
    *,
    seen: str = SEEN,
    read: str = LAST,
    result: str = "[B,2]",
    body: str = "",
    inputs: str = f"bool[B,{T}] user_seen",
    kind: str = "float",
    **weights: np.ndarray,
) -> str:
    """Two layers of attention over the user's tokens and one of the item; ``mask`` makes a of s."""
    used = {**WEIGHTS, **weights}
    body = body or f"{attention(0, mask, kind=_number(kind))} {attention(1, mask, kind=_number(kind))}"
    kinds = {"b": "bool", "i": "int64", "f": kind}
    declared = ", ".join(f"{typed(kinds[array.dtype.kind], array.shape)} {name}" for name, array in used.items())
    return f"""score ({kind}[B,{T - 1},2] user, {kind}[B,1,2] item, {inputs}) => ({kind}{result} y)
        <{kind}[2,2] w, {declared}> {{
            {seen} k = Unsqueeze(seen, axis) x0 = Concat<axis = 1>(user, item)
            {_ordered(body)} {read} }}"""


def _ordered(body: str) -> str:
    """The shared mask in front."""
    shared = "both = And(causal, k)"
    return f"{shared} {body.replace(shared, '')}" if shared in body else body


def _number(kind: str) -> int:
    return {"float": 1, "float16": 10, "double": 11}[kind]


def run(model: str, **weights: np.ndarray) -> Outcome:
    """The rule at work, and every mask there is."""
    outcome = apply(RULE, model, **{**WEIGHTS, **weights})
    assert worst(outcome.original, outcome.result) == 0
    return outcome


def masks() -> Iterator[np.ndarray]:
    yield from (np.array([bits]) for bits in itertools.product([False, True], repeat=T))


def worst(original: onnx.ModelProto, result: onnx.ModelProto) -> float:
    """How far two models are apart at most, whatever the mask is."""
    before, after, inputs = session(original), session(result), sides_of(original)
    found = 0.0
    for seed, mask in enumerate(masks()):
        full, single = requests(original, inputs, 3, seed)
        for feeds, rows in ((full, 3), (single, 1)):
            if "user_seen" in feeds:
                feeds["user_seen"] = mask.repeat(rows, 0).astype(feeds["user_seen"].dtype)[
                    :, : feeds["user_seen"].shape[1]
                ]
        for left, right in zip(before.run(None, full), after.run(None, single), strict=True):
            assert np.isfinite(left).all()
            assert np.isfinite(right).all()
            found = max(found, float(np.abs(left.astype(np.float64) - right).max()))
    return found


def masked(outcome: Outcome) -> set[float]:
    """The numbers of all constants that mask something."""
    arrays = [onnx.numpy_helper.to_array(w) for w in outcome.result.graph.initializer]
    return {float(n) for a in arrays if a.dtype.kind == "f" for n in np.unique(a) if n < -1e4}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_masks(mask: str) -> None:
    outcome = run(text(mask))
    assert outcome.times == 2
    assert -np.inf in masked(outcome)


@pytest.mark.parametrize(
    "seen",
    [
        "seen = And(user_seen, own)",
        "n = Not(user_seen) o = Not(own) g = And(n, o) seen = Not(g)",
        "e = Equal(user_seen, own) d = Not(e) seen = Or(d, own)",
    ],
    ids=["of no use", "of padding", "made"],
)
def test_truths(seen: str) -> None:
    run(text(seen=seen))


@pytest.mark.parametrize("kind", ["int64", "float"])
def test_truths_made_of_numbers(kind: str) -> None:
    inputs = f"{kind}[B,{T}] user_seen"
    seen = "f = Cast<to = 1>(user_seen) e = Greater(f, zero) seen = Or(e, own)"
    assert run(text(seen=seen, inputs=inputs)).times == 2


def test_lengths() -> None:
    seen = "e = Less(places, user_length) seen = Or(e, own)"
    weights = {"places": np.arange(T)}
    assert run(text(seen=seen, inputs="int64[B,1] user_length", **weights), **weights).times == 2


@pytest.mark.parametrize(
    "mask", [ADDED, SUM, ONE_EACH, LATER, WHERE], ids=["added", "sum", "one each", "later", "where"]
)
def test_half_precision(mask: str) -> None:
    half = {n: w.astype(np.float16) for n, w in WEIGHTS.items() if w.dtype == F32 and n not in ("low", "far", "future")}
    half |= {
        "future": np.where(CAUSAL, 0, np.finfo(np.float16).min).astype(np.float16),
        "low": np.array(np.finfo(np.float16).min),
        "far": np.array(-6e4, np.float16),
    }
    outcome = run(text(mask, kind="float16", **half), **half)
    assert outcome.times == 2
    if "Add(s" in mask:
        # The lowest number and a score of -50 would make minus infinity, and a row of it no number.
        assert masked(outcome) == {-np.inf, -6e4}


def test_double_precision() -> None:
    double = {n: w.astype(np.float64) for n, w in WEIGHTS.items() if w.dtype == F32}
    assert run(text(kind="double", **double), **double).times == 2


def test_a_guard_behind_the_softmax() -> None:
    body = "".join(
        attention(n, WHERE).replace(
            f"p{n} = Softmax(a{n})", f"r{n} = Softmax(a{n}) i{n} = IsNaN(r{n}) p{n} = Where(i{n}, zero, r{n})"
        )
        for n in range(2)
    )
    assert run(text(body=body)).times == 2


def test_rows_laid_end_to_end() -> None:
    """A layer written for matrices."""
    layer = "l = Reshape(x1, flat) g = Gemm(l, w, bias) e = Relu(g) x2 = Reshape(e, apart)"
    weights = {"bias": np.array([1, -1], F32)}
    body = f"{attention(0, WHERE)} {layer} {attention(2, WHERE)}"
    assert run(text(body=body, read=LAST.replace("x2", "x3"), **weights), **weights).times == 2


@pytest.mark.parametrize(
    ("read", "result"),
    [
        ("y = Slice(x2, from_last, tokens, axis)", "[B,1,2]"),
        ("e, y = Split<axis = 1>(x2, sizes)", "[B,1,2]"),
        ("c = Concat<axis = 1>(item, x2) y = Gather<axis = 1>(c, places)", "[B,2]"),
        ("t = Transpose<perm = [1, 0, 2]>(x2) y = Gather(t, last)", "[B,2]"),
        ("y = Gather<axis = 1>(x2, lasts)", "[B,2,2]"),
        ("m = ReduceSum<keepdims = 0>(x2, depth) y = Gather<axis = 1>(m, last)", "[B]"),
    ],
)
def test_the_last_token_is_read(read: str, result: str) -> None:
    weights = {
        "tokens": np.array([T]),
        "sizes": np.array([T - 1, 1]),
        "places": np.array(T),
        "lasts": np.array([T - 1, T - 1]),
        "depth": np.array([2]),
    }
    assert run(text(read=read, result=result, **weights), **weights).times == 2


def test_user_tokens_run_once() -> None:
    """The layers of the user's tokens, whatever their mask is."""
    model = apply(RULE, text(), **WEIGHTS).original
    separated = optimize(model, user_inputs=["user*"], verify=False, candidates=512)
    without = optimize(model, user_inputs=["user*"], verify=False, candidates=512, disable=[RULE])
    assert worst(model, separated.model) < 1e-4
    assert separated.report.after.flops < 0.7 * without.report.after.flops


def test_casts_to_the_type_that_is_there_are_no_masks() -> None:
    """They go first: in front of other rules alone this one may cost a little."""
    cast = NESTED.replace("a{n} =", "c{n} =") + " a{n} = Cast<to = 1>(c{n})"
    model = apply(RULE, text(cast), **WEIGHTS).original
    others = [rule.name for rule in RULES if rule.name not in (RULE, "neutral")]
    alone = optimize(model, user_inputs=["user*"], verify=False, candidates=512, disable=others)
    assert [a.rule for a in alone.applied].count(RULE) == 2
    assert worst(model, alone.model) < 1e-4


BIAS = "f{n} = Cast<to = 1>(k) h{n} = Sub(one, f{n}) d{n} = Mul(h{n}, far) "


@pytest.mark.parametrize(
    "mask",
    [
        BIAS + "e{n} = MatMul(ones, d{n}) b{n} = Add(s{n}, e{n}) a{n} = Where(causal, b{n}, far)",
        BIAS
        + "e{n} = Add(d{n}, zero) g{n} = MatMul(ones, e{n}) b{n} = Add(s{n}, g{n}) a{n} = Where(causal, b{n}, far)",
    ],
)
def test_a_mask_that_a_product_repeats_for_all_queries(mask: str) -> None:
    """A row of padding, which is read here, sees the items' tokens as it sees all others."""
    weights = {"ones": np.ones((T, 1), F32)}
    model = apply(RULE, text(mask, read=LAST.replace("last", "first"), **weights), **WEIGHTS, **weights).original
    assert worst(model, optimize(model, user_inputs=["user*"], verify=False, candidates=512).model) < 1e-4


def test_more_queries_than_keys() -> None:
    """Those behind the last key see the user's tokens whatever is padding."""
    weights = {"causal": np.concatenate([CAUSAL, CAUSAL[-1:]]), "behind": np.array(T)}
    body = """q = Concat<axis = 1>(x0, item) t0 = Transpose<perm = [0, 2, 1]>(x0) s0 = MatMul(q, t0)
        both = And(causal, k) a0 = Where(both, s0, low) p0 = Softmax(a0) z0 = MatMul(p0, x0)"""
    assert run(text(body=body, read="y = Gather<axis = 1>(z0, behind)", **weights), **weights).times == 1


def pyramid(first: int, end: int, mask: str = WHERE) -> tuple[str, dict[str, np.ndarray]]:
    """A layer of all tokens, and one that goes on with some of them, which see all of what is in front of them."""
    weights = {"causal1": CAUSAL[first:end], "begin": np.array([first]), "end": np.array([end])}
    layer = attention(1, mask.replace("both", "both1").replace("causal", "causal1"))
    layer = layer.replace("q1 = MatMul(x1, w)", "f1 = Slice(x1, begin, end, axis) q1 = MatMul(f1, w)")
    return f"{attention(0, WHERE)} {layer.replace('x2 = Add(x1,', 'x2 = Add(f1,')}", weights


@pytest.mark.parametrize("mask", [WHERE, ADDED, HIDDEN], ids=["where", "added", "hidden"])
@pytest.mark.parametrize("first", [1, 2])
def test_queries_of_the_last_tokens_alone(first: int, mask: str) -> None:
    """A layer that keeps fewer tokens than it reads."""
    body, weights = pyramid(first, T, mask)
    read = LAST.replace("last", "kept")
    weights |= {"kept": np.array(T - 1 - first)}
    assert run(text(body=body, read=read, **weights), **weights).times == 2


@pytest.mark.parametrize(("first", "end", "read"), [(1, T, 0), (2, T, 0), (1, 3, 0), (1, 3, 1), (0, 2, 1)])
def test_queries_that_may_be_padding(first: int, end: int, read: int) -> None:
    """What is read of these depends on the item where nothing in front of them is alive."""
    body, weights = pyramid(first, end)
    weights |= {"kept": np.array(read)}
    outcome = run(text(body=body, read=LAST.replace("last", "kept"), **weights), **weights)
    assert not any("p0" in a.node for a in outcome.applied)


def test_queries_taken_for_other_tokens_would_be_wrong() -> None:
    """The first row of a layer is not token 0 there: it is read although the user's first token may be padding."""
    body, weights = pyramid(2, T)
    weights |= {"kept": np.array(0), "causal1": np.tril(np.ones((2, T), np.bool_), 2)}
    with mock.patch.object(Unread, "reached", return_value=None), pytest.raises(AssertionError):
        run(text(body=body, read=LAST.replace("last", "kept"), **weights), **weights)


SQUARES = "q = Mul(x1, x1) m = ReduceMean<axes = [-1]>(q)"
LENGTHS = {
    "l2": "l = ReduceL2<axes = [-1]>(x1) x1n = Div(x1, l)",
    "root": f"{SQUARES} l = Sqrt(m) x1n = Div(x1, l)",
    "reciprocal": f"{SQUARES} l = Sqrt(m) r = Reciprocal(l) x1n = Mul(x1, r)",
    "power": f"{SQUARES} r = Pow(m, power) x1n = Mul(x1, r)",
    "logarithm": "q = Mul(x1, x1) x1n = Log(q)",
    "squares less the squared mean": f"{SQUARES} n = ReduceMean<axes = [-1]>(x1) o = Mul(n, n) v = Sub(m, o)"
    " e = Add(v, epsilon) r = Pow(e, power) x1n = Mul(x1, r)",
    "logarithm of a sum": "a = Abs(x1) l = ReduceLogSum<axes = [-1]>(a) x1n = Add(x1, l)",
}
NEVER_ZERO = {
    "epsilon": f"{SQUARES} e = Add(m, epsilon) l = Sqrt(e) x1n = Div(x1, l)",
    "epsilon outside": f"{SQUARES} l = Sqrt(m) e = Add(epsilon, l) x1n = Div(x1, e)",
    "reciprocal": f"{SQUARES} e = Add(m, epsilon) l = Sqrt(e) r = Reciprocal(l) x1n = Mul(x1, r)",
    "power": f"{SQUARES} e = Add(m, epsilon) r = Pow(e, power) x1n = Mul(x1, r)",
    "largest": "l = ReduceL2<axes = [-1]>(x1) e = Clip(l, epsilon) f = Expand(e, whole) x1n = Div(x1, f)",
    "max": "l = ReduceL2<axes = [-1]>(x1) e = Max(l, epsilon) x1n = Div(x1, e)",
    "squares less the squared mean": f"{SQUARES} n = ReduceMean<axes = [-1]>(x1) o = Mul(n, n) v = Sub(m, o)"
    " f = Max(v, zero) e = Add(f, epsilon) l = Sqrt(e) x1n = Div(x1, l)",
    "truths": "b = Greater(x1, zero) c = Cast<to = 1>(b) l = ReduceSum<keepdims = 1>(c, backwards) e = Add(l, epsilon)"
    " x1n = Div(x1, e)",
    "centred": "m = ReduceMean<axes = [-1]>(x1) d = Sub(x1, m) q = Pow(d, square) v = ReduceMean<axes = [-1]>(q)"
    " e = Add(v, epsilon) l = Sqrt(e) x1n = Div(d, l)",
}
NORMS = {
    "epsilon": np.array(1e-5, F32),
    "power": np.array(-0.5, F32),
    "square": np.array(2, F32),
    "whole": np.array([1, 1, 2]),
}


def normalised(steps: str) -> str:
    layer = attention(1, WHERE).replace("x1", "x1n").replace("x2 = Add(x1n, z1)", "x2 = Identity(z1)")
    return text(body=f"{attention(0, WHERE)} {steps} {layer}", **NORMS)


@pytest.mark.parametrize("steps", LENGTHS.values(), ids=LENGTHS.keys())
def test_rows_of_padding_may_be_zero(steps: str) -> None:
    """What is divided by their length is no number then, and 0 times that is none either."""
    outcome = apply(RULE, normalised(steps), **{**WEIGHTS, **NORMS})
    assert not any("p0" in a.node for a in outcome.applied)


@pytest.mark.parametrize("steps", NEVER_ZERO.values(), ids=NEVER_ZERO.keys())
def test_rows_of_padding_divided_by_what_is_never_zero(steps: str) -> None:
    assert apply(RULE, normalised(steps), exact=False, **{**WEIGHTS, **NORMS}).times == 2


def test_padding_of_zeros_leaves_numbers() -> None:
    outcome = apply(RULE, normalised(LENGTHS["l2"]), **{**WEIGHTS, **NORMS})
    feeds, _ = requests(outcome.original, sides_of(outcome.original), 1)
    feeds |= {
        "user": np.zeros((1, T - 1, 2), F32),
        "user_seen": np.zeros((1, T), np.bool_),
        "item": np.ones((1, 1, 2), F32),
    }
    for model in (outcome.original, outcome.result):
        assert np.isfinite(session(model).run(None, feeds)[0]).all()


REFUSED = {
    "the item's own token may be padding": text(seen="seen = Not(user_seen)"),
    "all tokens are read": text(read="y = ReduceMean<axes = [1], keepdims = 0>(x2)"),
    "all tokens are an output": text(read="y = Identity(x2)", result=f"[B,{T},2]"),
    "another token is read": text(read="y = Gather<axis = 1>(x2, first)"),
    "tokens are read backwards": text(
        read="r = Slice(x2, last_of_all, to_first, axis, backwards) y = Gather<axis = 1>(r, last)",
        last_of_all=np.array([-1]),
    ),
    "tokens meet in between": text(
        body=f"{attention(0, WHERE)} mean = ReduceMean<axes = [1]>(x1) x2 = Add(x1, mean)",
    ),
    "another attention sees all": text(
        body=f"{attention(0, WHERE)} {attention(1, 'a1 = Where(causal, s1, low)')}",
    ),
    "an unknown mask in between": text(
        body=f"{attention(0, WHERE)} {attention(1, 'a1 = Where(user_other, s1, low)')}",
        inputs=f"bool[B,{T}] user_seen, bool[B,{T},{T}] user_other",
    ),
    "tokens move": text(
        body=f"{attention(0, WHERE)} x1a = Gather<axis = 1>(x1, turned) {attention(1, WHERE).replace('x1', 'x1a')}",
        turned=np.array([1, 2, 0, 3]),
    ),
    "weights are added to": text(
        body=attention(0, WHERE)
        + attention(1, WHERE).replace("p1 = Softmax(a1)", "o1 = Softmax(a1) p1 = Add(o1, one)"),
    ),
}


def refused(name: str) -> Outcome:
    extra = {"last_of_all": np.array([-1]), "turned": np.array([1, 2, 0, 3])}
    return run(REFUSED[name], **{k: v for k, v in extra.items() if k in REFUSED[name]})


@pytest.mark.parametrize("name", REFUSED)
def test_rows_that_are_read(name: str) -> None:
    outcome = refused(name)
    assert not any("p0" in a.node for a in outcome.applied)
    assert any("is read by" in reason for reason in outcome.reasons)


@pytest.mark.parametrize("name", [n for n in REFUSED if n != "an unknown mask in between"])
def test_scores_would_be_wrong_without_the_proof(name: str) -> None:
    with mock.patch.object(Unread, "reached", return_value=None), pytest.raises(AssertionError):
        refused(name)


@pytest.mark.parametrize(
    "mask",
    [
        "both = And(causal, k) a{n} = Where(both, s{n}, endless)",
        "a{n} = Where(k, s{n}, low)",
        "a{n} = Where(causal, s{n}, low)",
        "both = And(causal, k) m{n} = Where(both, zero, near) a{n} = Add(s{n}, m{n})",
    ],
    ids=["minus infinity", "padding alone", "causal alone", "masks that leave a little"],
)
def test_masks_that_need_nothing_or_allow_nothing(mask: str) -> None:
    weights = {"near": np.array(-1e4, F32)}
    model = text(mask, **weights)
    assert apply(RULE, model, **{**WEIGHTS, **weights}).times == 0


@pytest.mark.parametrize(("ratio", "times"), [("Neg", 2), ("Reciprocal", 0)])
def test_scores_that_may_be_infinite(ratio: str, times: int) -> None:
    """A row of minus infinity is a mean of what a finite mask leaves out."""
    model = text(seen=f"{SEEN} ratio = {ratio}(user)").replace("(user, item)", "(ratio, item)")
    assert apply(RULE, model, exact=False, **WEIGHTS).times == times


def test_tokens_that_do_not_see_themselves() -> None:
    weights = {"causal": np.tril(np.ones((T, T), np.bool_), -1) | np.diag(OWN)}
    outcome = run(text(**weights), **weights)
    assert outcome.times == 0
    assert "a query that its mask leaves no key sees all of them alike, those of items too" in outcome.reasons


def test_a_mask_of_each_candidate() -> None:
    outcome = run(text(seen="seen = Or(item_seen, own)", inputs=f"bool[B,{T}] item_seen"))
    assert outcome.times == 0
    assert "its mask differs from candidate to candidate, and may rule out all keys of a query" in outcome.reasons


def test_truths_of_queries() -> None:
    """An entry that depends on the truth of its query as well as on that of its key is not looked into."""
    mask = (
        "u{n} = Unsqueeze(seen, depth) e{n} = And(k, u{n}) both{n} = And(causal, e{n}) a{n} = Where(both{n}, s{n}, low)"
    )
    weights = {"depth": np.array([2])}
    assert run(text(mask, **weights), **weights).times == 0
