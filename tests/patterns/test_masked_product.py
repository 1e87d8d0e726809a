"""[P_uu, 0] [V_u; V_i] = P_uu V_u."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.pipeline import optimize
from tests.patterns.support import Outcome, apply, judge, model_of, sides_of

RULE = "masked-product"

F32 = np.float32
INF = np.float32(np.inf)


def triangle(tokens: int) -> np.ndarray:
    return np.tril(np.ones((tokens, tokens), F32))


def minus(where: np.ndarray, number: float) -> np.ndarray:
    """A mask that is added to the scores."""
    return np.where(where != 0, F32(0), F32(number))


def rows_at_each_candidate(outcome: Outcome) -> set[object]:
    """How many rows the products make that run for each candidate."""
    shapes = [outcome.size_of(node.output[0]) or () for node in outcome.of("MatMul")]
    return {shape[-2] for shape in shapes if not isinstance(shape[0], int)}


SCORES = """
    x = Concat<axis = 1>(user, item)
    q = MatMul(x, wq)
    k = MatMul(x, wk)
    t = Transpose<perm = [0, 2, 1]>(k)
    s = MatMul(q, t)
"""
INPUTS = "float[B,3,4] user, float[B,2,4] item"
WEIGHTS = "float[4,4] wq, float[4,4] wk"


def attention(mask: str, *, exact: bool = True, inputs: str = "", opset: int = 17, **weights: np.ndarray) -> Outcome:
    """One layer of attention over three tokens of the user and two of the item; ``mask`` makes p of s."""
    declared = "".join(f", {_declared(array)} {name}" for name, array in weights.items())
    return apply(
        RULE,
        f"""score ({INPUTS}{inputs}) => (float[B,5,4] y) <{WEIGHTS}{declared}> {{
            {SCORES}
            {mask}
            y = MatMul(p, x)
        }}""",
        exact=exact,
        opset=opset,
        **weights,
    )


def _declared(array: np.ndarray) -> str:
    kind = {"f": "float", "b": "bool", "i": "int64"}[array.dtype.kind]
    return f"{kind}[{','.join(map(str, array.shape))}]" if array.ndim else kind


# -- masks that are multiplied -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_a_triangle(opset: int) -> None:
    outcome = attention("p = Mul(s, m)", m=triangle(5), opset=opset)
    assert outcome.times == 1
    assert rows_at_each_candidate(outcome) - {5} == {2}  # projections are not its business


@pytest.mark.parametrize(
    "mask",
    [
        "p = Mul(m, s)",
        "a = Mul(s, half) b = Relu(a) p = Mul(b, m)",
        "c = Cast<to = 9>(m) n = Not(c) p = Where(n, zero, s)",
        "c = Cast<to = 9>(m) p = Where(c, s, zero)",
        "l = Mul(s, m) n = Neg(l) p = Div(n, half)",
        "l = Mul(s, m) p = Clip(l, less, half)",
        "r = Relu(s) t2 = Pow(r, two) p = Mul(t2, m)",
    ],
)
def test_however_it_is_written(mask: str) -> None:
    weights = {"half": np.float32(0.5), "zero": np.float32(0), "less": np.float32(-9), "two": np.float32(2)}
    used = {name: array for name, array in weights.items() if name in mask}
    assert attention(mask, m=triangle(5), **used).times == 1  # type: ignore[arg-type]


def test_a_large_negative_number_in_front_of_an_activation() -> None:
    """The Sigmoid of -10000 is 0 in all types, and so is what it is multiplied with."""
    outcome = attention(
        "w = Where(m, s, low) g = Sigmoid(w) p = Mul(w, g)", exact=False, m=triangle(5) != 0, low=np.float32(-1e4)
    )
    assert outcome.times == 1


def test_a_bias_looked_up_by_how_far_two_tokens_are_apart() -> None:
    """The part of it that belongs to two tokens of the user is looked up by their part of the distances."""
    outcome = attention(
        """times = Concat<axis = 1>(user_times, item_times) r = Unsqueeze(times, two) c = Unsqueeze(times, one)
        d = Sub(r, c) n = Abs(d) b = Gather(table, n) t2 = Add(b, s) p = Mul(t2, m)""",
        inputs=", int64[B,3] user_times, int64[B,2] item_times",
        m=triangle(5),
        table=np.arange(4, dtype=F32),
        one=np.array([1]),
        two=np.array([2]),
    )
    assert outcome.times == 1
    assert {outcome.size_of(n.output[0])[-2:] for n in outcome.of("Gather")} == {(3, 3), (2, 5)}


@pytest.mark.parametrize("mask", ["l = Mul(s, m) p = Clip(l, half, most)", "r = Mul(s, m) p = Pow(r, none)"])
def test_what_makes_something_of_nothing(mask: str) -> None:
    weights = {"half": np.float32(0.5), "most": np.float32(2), "none": np.float32(0)}
    used = {name: array for name, array in weights.items() if name in mask}
    assert attention(mask, m=triangle(5), **used).times == 0  # type: ignore[arg-type]


def test_groups_cut_off_both_ways() -> None:
    m = np.kron(np.eye(2), np.ones((3, 3)))[:5, :5].astype(F32)
    outcome = attention("p = Mul(s, m)", m=m)
    assert outcome.times == 1
    assert {outcome.size_of(n.output[0])[-2] for n in outcome.of("MatMul")} >= {3, 2}  # type: ignore[index]


def test_padding_by_data_on_top_of_a_triangle() -> None:
    outcome = attention(
        "c = And(m, user_seen) p = Where(c, s, zero)",
        inputs=", bool[B,1,5] user_seen",
        m=triangle(5) != 0,
        zero=np.float32(0),
    )
    assert outcome.times == 1
    assert rows_at_each_candidate(outcome) - {5} == {2}


def test_padding_of_items_as_well() -> None:
    outcome = attention(
        "c = And(m, item_seen) p = Where(c, s, zero)",
        inputs=", bool[B,1,5] item_seen",
        m=triangle(5) != 0,
        zero=np.float32(0),
    )
    assert outcome.times == 1, "the user's rows are zero at the items' columns whatever is seen"


def test_with_an_item_between_the_users_tokens() -> None:
    m = np.ones((4, 4), F32)
    m[[0, 1, 3], 2] = 0
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,1,3] item, float[B,1,3] user_2) => (float[B,4,3] y) <float[4,4] m> {
            x = Concat<axis = 1>(user, item, user_2)
            y = MatMul(m, x)
        }""",
        m=m,
    )
    assert outcome.times == 1
    assert rows_at_each_candidate(outcome) == {1}


# -- mixing weights ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 2), st.booleans(), st.integers(0, 2**25 - 1))
def test_any_zeros_of_a_mixing_weight(users: int, items: int, left: bool, bits: int) -> None:
    total = users + items
    kept = np.array([bits >> i & 1 for i in range(total * total)]).reshape(total, total).astype(F32)
    axis, user, item = (1, f"B,{users},2", f"B,{items},2") if left else (2, f"B,2,{users}", f"B,2,{items}")
    outcome = apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{f"B,{total},2" if left else f"B,2,{total}"}] y)
        <float[{total},{total}] m> {{
            x = Concat<axis = {axis}>(user, item)
            y = {"MatMul(m, x)" if left else "MatMul(x, m)"}
        }}""",
        m=kept * 3,
    )
    rows = kept if left else kept.T
    needs = [(bool(r[:users].any()), bool(r[users:].any())) for r in rows]
    if all(n == (True, True) for n in needs):
        assert outcome.times == 0


# -- masks in front of a Softmax ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [-np.inf, -1e9, -3.4028235e38])
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("mask", ["a = Add(s, m)", "c = Cast<to = 9>(keep) a = Where(c, s, low)"])
def test_softmax(number: float, opset: int, mask: str) -> None:
    weights = {"m": minus(triangle(5), number), "keep": triangle(5), "low": np.array(number, F32)}
    used = {k: v for k, v in weights.items() if f"{k})" in mask or f"{k}," in mask}
    outcome = attention(f"{mask} p = Softmax<axis = 2>(a)", exact=False, opset=opset, **used)
    assert outcome.times == 1
    assert rows_at_each_candidate(outcome) - {5} == {2}


@pytest.mark.parametrize(("ratio", "times"), [("Neg(s)", 1), ("Reciprocal(s)", 0)])
def test_not_of_scores_that_may_be_infinite(ratio: str, times: int) -> None:
    """A row of minus infinity is a mean of what the mask leaves out, and no number without that."""
    mask = minus(triangle(5), np.finfo(F32).min)
    scores = f"r = {ratio} l = MatMul(r, one) a = Add(l, m) p = Softmax<axis = -1>(a)"
    outcome = attention(scores, exact=False, m=mask, one=np.eye(5, dtype=F32))
    assert outcome.times == times


def test_softmax_of_minus_infinity_next_to_padding_by_data() -> None:
    """Where all of a row is masked, it is undefined before and after."""
    outcome = attention(
        "c = And(m, user_seen) a = Where(c, s, low) z = Softmax<axis = 2>(a) n = IsNaN(z) p = Where(n, zero, z)",
        exact=False,
        inputs=", bool[B,1,5] user_seen",
        m=triangle(5) != 0,
        low=np.array(-np.inf, F32),
        zero=np.float32(0),
    )
    assert outcome.times == 1


def test_a_part_without_tokens() -> None:
    text = """score (float[B,3,4] user, float[B,2,4] item, float[B,5,3] user_s, float[B,5,2] item_s) => (float[B,5,4] y)
    <bool[5,5] m, float zero, int64[1] start, int64[1] one> {
        none = Slice(user, start, start, one)
        x = Concat<axis = 1>(user, item, none)
        s = Concat<axis = 2>(user_s, item_s)
        p = Where(m, s, zero)
        y = MatMul(p, x)
    }"""
    start, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    assert apply(RULE, text, m=triangle(5) != 0, zero=F32(0), start=start, one=one).times == 1


@pytest.mark.parametrize("test", ["n = IsNaN(z)", "same = Equal(z, z) n = Not(same)"])
@pytest.mark.parametrize("number", [0.0, 0.5])
def test_an_undefined_row_is_what_is_put_there(test: str, number: float) -> None:
    """A Softmax of minus infinity alone is no number, and neither are its entries for masked tokens then."""
    outcome = attention(
        f"c = And(m, user_seen) a = Where(c, s, low) z = Softmax<axis = 2>(a) {test} p = Where(n, put, z)",
        exact=False,
        inputs=", bool[B,1,5] user_seen",
        m=triangle(5) != 0,
        low=np.array(-np.inf, F32),
        put=np.float32(number),
    )
    assert (outcome.times == 1) is (number == 0)


@pytest.mark.parametrize(("kind", "opset"), [(6, 17), (7, 17), (1, 13)])
def test_rows_that_see_something(kind: int, opset: int) -> None:
    """PyTorch's own decomposition of attention asks whether any entry of a row is above minus infinity."""
    outcome = attention(
        f"""c = And(m, user_seen) l = Where(c, zero, low) a = Add(s, l) z = Softmax<axis = 2>(a)
        e = Equal(a, low) o = Not(e) i = Cast<to = {kind}>(o) h = ReduceMax<axes = [2], keepdims = 1>(i)
        any = Cast<to = 9>(h) n = Not(any) p = Where(n, zero, z)""",
        exact=False,
        inputs=", bool[B,1,5] user_seen",
        opset=opset,
        m=triangle(5) != 0,
        low=np.array(-np.inf, F32),
        zero=np.float32(0),
    )
    assert outcome.times == 1
    assert len(outcome.of("ReduceMax")) == 2
    once = [shape for n in outcome.of("ReduceMax") if isinstance((shape := outcome.size_of(n.output[0]) or ())[0], int)]
    assert once == [(1, 3, 1)]


def test_the_largest_of_entries_that_may_be_below_zero() -> None:
    """A zero is no less than these."""
    outcome = attention(
        "a = Mul(s, m) h = ReduceMax<axes = [2], keepdims = 1>(a) d = Sub(a, h) p = Mul(d, m)",
        m=triangle(5),
    )
    assert not any(isinstance((outcome.size_of(n.output[0]) or (0,))[0], int) for n in outcome.of("ReduceMax"))


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ("a = Add(s, m) p = Softmax<axis = 1>(a)", "not over the columns"),
        ("a = Add(s, m) b = Mul(a, minus) p = Softmax<axis = 2>(b)", "what was masked is what is left"),
        ("a = Add(s, m) p = Sigmoid(a)", "not known to be zero"),
        ("a = Add(s, user_bias) b = Add(a, m) p = Softmax<axis = 2>(b)", "the bias may be as large as the mask"),
        ("b = Where(seen, s, low) a = Add(b, m) p = Softmax<axis = 2>(a)", "all of a row may be masked"),
    ],
)
def test_not_a_softmax(mask: str, why: str) -> None:
    inputs = ", float[B,5,5] user_bias" if "user_bias" in mask else ""
    weights = {"m": minus(triangle(5), -1e9)}
    if "minus" in mask:
        weights["minus"] = np.array(-1, F32)
    if "low" in mask:
        inputs, weights["low"] = ", bool[B,1,5] user_seen", np.array(-1e9, F32)
    assert attention(mask.replace("seen", "user_seen"), exact=False, inputs=inputs, **weights).times == 0, why


SINKS = {
    "behind": """
        a = Add(s, m)
        shape = Shape(s)
        wide = Slice(shape, none, last)
        size = Concat<axis = 0>(wide, one)
        sink = Expand(logit, size)
        z = Concat<axis = -1>(a, sink)
        {stable}
        w = Softmax<axis = -1>(d)
        p = Slice(w, none, minus_one, last)""",
    "in front": """
        a = Add(s, m)
        shape = Shape(s)
        wide = Slice(shape, none, last)
        size = Concat<axis = 0>(wide, one)
        sink = Expand(logit, size)
        z = Concat<axis = -1>(sink, a)
        {stable}
        w = Softmax<axis = -1>(d)
        p = Slice(w, one, many, last)""",
}
"""A logit of its own in each row, whose weight nobody reads: what is left of the others does not sum to one."""
NUMBERS = {"none": [0], "one": [1], "last": [2], "minus_one": [-1], "many": [2**31]}


def with_sink(place: str, stable: str, mask: np.ndarray, logit: float = 0.5) -> Outcome:
    text = SINKS[place].format(stable=stable)
    numbers = {
        name: np.array(entries, np.int64)
        for name, entries in NUMBERS.items()
        if f"{name}," in text or f"{name})" in text
    }
    return attention(text, exact=False, m=mask, logit=np.array([[[logit]]], F32), **numbers)


@pytest.mark.parametrize("place", SINKS)
@pytest.mark.parametrize(
    "stable",
    ["d = Identity(z)", "most = ReduceMax<axes = [2], keepdims = 1>(z)\n d = Sub(z, most)"],
)
@pytest.mark.parametrize("number", [-np.inf, -1e9])
def test_attention_with_a_sink(place: str, stable: str, number: float) -> None:
    outcome = with_sink(place, stable, minus(triangle(5), number))
    assert outcome.times == 1
    assert rows_at_each_candidate(outcome) - {5} == {2}
    assert outcome.ops["Softmax"] == 2


def test_rows_that_see_nothing_but_the_sink() -> None:
    """Such a row is made of zeros; without the sink it would not be a number."""
    mask = minus(triangle(5), -np.inf)
    mask[0] = -np.inf
    outcome = with_sink("behind", "d = Identity(z)", mask)
    assert outcome.times >= 1


@pytest.mark.parametrize("mask", [np.zeros((5, 5), F32), minus(triangle(5), -1e4)])
def test_a_sink_cuts_nothing_off(mask: np.ndarray) -> None:
    assert with_sink("behind", "d = Identity(z)", mask).times == 0


def test_the_item_is_seen_where_only_the_sink_is_cut_off() -> None:
    mask = np.zeros((5, 5), F32)
    mask[:, 0] = -np.inf
    assert with_sink("behind", "d = Identity(z)", mask).times == 0


@pytest.mark.parametrize("number", [-1e4, -1e7])
def test_not_a_mask_that_scores_could_outweigh(number: float) -> None:
    assert attention("a = Add(s, m) p = Softmax(a)", exact=False, m=minus(triangle(5), number)).times == 0


def test_a_row_that_is_masked_throughout_keeps_the_items() -> None:
    keep = triangle(5)
    keep[1] = 0
    outcome = attention("a = Add(s, m) p = Softmax(a)", exact=False, m=minus(keep, -1e9))
    assert outcome.times == 1
    assert {1, 2} <= rows_at_each_candidate(outcome), "the second row is the mean of all tokens, items among them"


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask",
    [
        "p = Mul(s, m)",  # all ones
        "p = Add(s, m)",
        "p = Identity(s)",
    ],
)
def test_not_without_a_mask(mask: str) -> None:
    weights = {"m": np.ones((5, 5), F32)} if "m)" in mask else {}
    assert attention(mask, **weights).times == 0


def test_not_the_user_where_the_mask_lets_it_see_the_items() -> None:
    """The user's tokens come last: only the items' rows do without some."""
    outcome = apply(
        RULE,
        """score (float[B,2,3] item, float[B,2,3] user) => (float[B,4,3] y) <float[4,4] m> {
            x = Concat<axis = 1>(item, user)
            y = MatMul(m, x)
        }""",
        m=np.tril(np.ones((4, 4), F32)),
    )
    assert [n for n in outcome.of("MatMul") if outcome.size_of(n.output[0])[0] == 1] == []  # type: ignore[index]


def test_not_a_mask_given_with_the_request() -> None:
    outcome = attention("p = Mul(s, user_mask)", inputs=", float[B,5,5] user_mask")
    assert outcome.times == 0


def test_not_zero_divided_by_what_may_be_zero() -> None:
    assert attention("l = Mul(s, m) p = Div(l, s)", exact=False, m=triangle(5)).times == 0


def test_not_zero_times_infinity() -> None:
    m = triangle(5)
    outcome = attention("l = Add(s, big) p = Mul(l, m)", exact=False, m=m, big=np.where(m != 0, F32(0), -INF))
    assert outcome.times == 0


def test_scattered_rows_are_refused() -> None:
    m = np.ones((6, 6), F32)
    m[::2, 3:] = 0
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,3,2] item) => (float[B,6,2] y) <float[6,6] m> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(m, x)
        }""",
        m=m,
    )
    assert outcome.times == 0
    assert outcome.reasons == {"the rows that the mask cuts off are scattered"}


# -- through all layers ------------------------------------------------------------------------------------------------

TOKENS, WIDTH = 40, 32


def ranker(mask: np.ndarray, *, softmax: bool, users: int = TOKENS - 1) -> onnx.ModelProto:
    """Two layers of attention over the history and one candidate, with residuals; scored at the candidate's token."""
    lines, value = [], "x"
    for layer in range(2):
        normed, scores = f"n{layer}", f"s{layer}"
        masked = f"p{layer} = Mul({scores}, mask)"
        if softmax:
            masked = f"a{layer} = Add({scores}, mask) p{layer} = Softmax<axis = 2>(a{layer})"
        lines += [
            f"{normed} = LayerNormalization<axis = -1>({value}, gain)",
            *(f"{name}{layer} = MatMul({normed}, w{name}{layer})" for name in "qkv"),
            f"t{layer} = Transpose<perm = [0, 2, 1]>(k{layer})",
            f"r{layer} = MatMul(q{layer}, t{layer})",
            f"{scores} = Mul(r{layer}, scale)",
            masked,
            f"o{layer} = MatMul(p{layer}, v{layer})",
            f"x{layer} = Add({value}, o{layer})",
        ]
        value = f"x{layer}"
    names = [f"w{name}{layer}" for layer in range(2) for name in "qkv"]
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(F32) for name in names}
    weights |= {"gain": np.ones(WIDTH, F32), "mask": mask, "scale": np.array(WIDTH**-0.5, F32)}
    weights |= {"last": np.array(TOKENS - 1), "head": random.normal(0, 0.2, (WIDTH, 1)).astype(F32)}
    declared = ", ".join(f"{_declared(array)} {name}" for name, array in weights.items())
    body = "\n".join(lines)
    return model_of(
        f"""score (float[B,{users},{WIDTH}] user, float[B,{TOKENS - users},{WIDTH}] item) => (float[B,1] y)
        <{declared}> {{
            x = Concat<axis = 1>(user, item)
            {body}
            token = Gather<axis = 1>({value}, last)
            y = MatMul(token, head)
        }}""",
        **weights,
    )


def widths(model: onnx.ModelProto) -> list[int]:
    """How many rows of tokens the products over the width make for each candidate."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    products = [n for n in model.graph.node if n.op_type == "MatMul"]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n.output[0]) for n in products)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else 7 for d in value.shape]
        feeds[value.name] = np.zeros(shape, F32)
    made = session.run([n.output[0] for n in products], feeds)
    return [array.shape[-2] for array in made if array.ndim == 3 and array.shape[0] == 7]


@pytest.mark.parametrize("softmax", [False, True])
def test_the_users_tokens_run_once_through_all_layers(softmax: bool) -> None:
    mask = minus(triangle(TOKENS), -np.inf) if softmax else triangle(TOKENS)
    model = ranker(mask, softmax=softmax)
    result = optimize(model, ["user"]).model
    assert set(widths(model)) == {TOKENS}
    assert set(widths(result)) == {1}
    judge(model, result, sides_of(model), exact=False)


@pytest.mark.parametrize("softmax", [False, True])
def test_nothing_is_cut_off_without_a_mask(softmax: bool) -> None:
    mask = np.zeros((TOKENS, TOKENS), F32) if softmax else np.ones((TOKENS, TOKENS), F32)
    model = ranker(mask, softmax=softmax)
    result = optimize(model, ["user"])
    assert RULE not in {a.rule for a in result.applied}
    judge(model, result.model, sides_of(model), exact=False)
