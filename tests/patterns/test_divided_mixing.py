"""([P_uu, 0] / s) [V_u; V_i] = (P_uu V_u) / s."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns import support
from tests.patterns.support import Outcome, apply

RULE = "divided-mixing"
F32 = np.float32
SUM = "a = Abs(p) r = ReduceSum<keepdims = 1>(a, last) "
DIVIDED = SUM + "d = Add(r, half) n = Div(p, d)"


def triangle(tokens: int) -> np.ndarray:
    return np.tril(np.ones((tokens, tokens), F32))


def mixing(
    scaled: str = DIVIDED,
    *,
    mask: str = "p = Mul(s, m)",
    m: np.ndarray | None = None,
    product: str = "y = MatMul(n, x)",
    kind: str = "float",
    opset: int = 17,
    exact: bool = False,
) -> Outcome:
    """Scores among three tokens of the user and two of the item, of which each sees those before it."""
    dtype = {"float": F32, "float16": np.float16}[kind]
    axis = "last = Constant<value_ints = [-1]>()" if opset > 12 else ""
    return apply(
        RULE,
        f"""score ({kind}[B,3,4] user, {kind}[B,2,4] item, {kind}[B,5,1] user_scale) => ({kind}[B,5,4] y)
        <{kind}[4,4] wq, {kind}[4,4] wk, {kind}[5,5] m, {kind} half> {{
            x = Concat<axis = 1>(user, item) {axis}
            q = MatMul(x, wq) k = MatMul(x, wk) t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, t)
            {mask} {scaled} {product}
        }}""",
        exact=exact,
        opset=opset,
        m=(triangle(5) if m is None else m).astype(dtype),
        half=np.array(0.5, dtype),
    )


def at_each_candidate(outcome: Outcome, op: str) -> set[tuple[int, ...]]:
    """Rows and columns of what an operator makes for each candidate."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of(op)]
    return {shape[-2:] for shape in shapes if not isinstance(shape[0], int)}


@pytest.mark.parametrize(
    "scaled",
    [
        DIVIDED,
        SUM + "d = Clip(r, half) n = Div(p, d)",
        SUM + "e = Add(r, half) d = Reciprocal(e) n = Mul(p, d)",
        SUM + "e = Add(r, half) d = Reciprocal(e) n = Mul(d, p)",
        "r = ReduceSumSquare<axes = [2], keepdims = 1>(p) d = Add(r, half) n = Div(p, d)",
        "r = ReduceL1<axes = [-1], keepdims = 1>(p) d = Add(r, half) n = Div(p, d)",
        "r = ReduceL2<axes = [-1], keepdims = 1>(p) d = Add(r, half) n = Div(p, d)",
        "r = ReduceSum<keepdims = 1>(p, last) c = Mul(r, r) d = Add(c, half) n = Div(p, d)",
    ],
)
def test_rows_of_the_user_are_divided_by_sums_over_the_users_columns(scaled: str) -> None:
    outcome = mixing(scaled)
    assert outcome.times == 1
    assert at_each_candidate(outcome, "Div") | at_each_candidate(outcome, "Mul") >= {(2, 4)}
    for op in ("Div", "Reciprocal", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
        assert {rows for rows, _ in at_each_candidate(outcome, op)} <= {2}, "three rows run once"


def test_sums_without_an_input_for_their_axes() -> None:
    scaled = "a = Abs(p) r = ReduceSum<axes = [-1], keepdims = 1>(a) d = Add(r, half) n = Div(p, d)"
    assert mixing(scaled, opset=11).times == 1


def test_a_scale_that_needs_all_columns_is_found_for_each_candidate() -> None:
    """What the rows are summed over has no zeros: rows of the user are then divided for each candidate."""
    outcome = mixing("a = Abs(s) r = ReduceSum<keepdims = 1>(a, last) d = Add(r, half) n = Div(p, d)")
    assert outcome.times == 1
    assert at_each_candidate(outcome, "ReduceSum") == {(3, 1), (2, 1)}


def test_a_scale_of_the_user() -> None:
    assert mixing("a = Abs(user_scale) d = Add(a, half) n = Div(p, d)").times == 1


SOFTMAX = "r = ReduceSum<keepdims = 1>(p, last) n = Div(p, r)"
HIGHEST = "b = Add(s, m) h = ReduceMax<axes = [-1], keepdims = 1>(b) c = Sub(b, h) p = Exp(c)"


@pytest.mark.parametrize("low", [-1e9, -np.inf])
@pytest.mark.parametrize(
    ("mask", "scaled"),
    [
        (HIGHEST, SOFTMAX),
        ("g = Tanh(s) b = Add(g, m) p = Exp(b)", "r = ReduceSum<keepdims = 1>(p, last) d = Add(r, half) n = Div(p, d)"),
    ],
)
def test_a_softmax_that_is_written_out(mask: str, scaled: str, low: float) -> None:
    outcome = mixing(scaled, mask=mask, m=np.where(triangle(5) != 0, 0, low))
    assert outcome.times == 1
    for op in ("ReduceMax", "Exp", "ReduceSum", "Div"):
        assert {rows for rows, _ in at_each_candidate(outcome, op)} <= {2}, "three rows run once"


def test_rows_that_are_masked_throughout_keep_all_columns() -> None:
    """Their largest entry is one of those that are masked, and their exponentials are ones."""
    m = np.where(triangle(5) * [[0], [1], [0], [1], [1]] != 0, 0, -1e9)
    outcome = mixing(SOFTMAX, mask=HIGHEST, m=m)
    assert outcome.times == 1
    widths = {outcome.size_of(n.input[0])[-2:] for n in outcome.of("ReduceMax")}
    assert widths == {(1, 2), (1, 5), (3, 5)}


def test_whole_numbers_come_out_to_the_last_bit() -> None:
    assert mixing("n = Mul(p, user_scale)", exact=True).times == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"m": np.ones((5, 5))},
        {"m": np.eye(5)[:, ::-1] + 1},
        {"kind": "float16"},
        {"scaled": "r = ReduceSum<axes = [1], keepdims = 1>(p) n = Div(p, r)", "opset": 11},
        {"scaled": SUM + "d = Add(r, half) n = Div(d, p)", "mask": "b = Mul(s, m) c = Abs(b) p = Add(c, half)"},
        {"scaled": SUM + "n = Add(p, r)"},
        # What may be 0 where its row is not: numbers of both signs, divided by it and added up, are no number.
        {"scaled": "n = Div(p, user_scale)"},
        {"scaled": "d = Reciprocal(user_scale) n = Mul(p, d)"},
        {"scaled": "r = ReduceSum<keepdims = 1>(p, last) n = Div(p, r)"},
    ],
)
def test_what_stays(settings: dict[str, object]) -> None:
    assert mixing(**settings).times == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 5])
def test_numbers_of_which_there_may_be_one(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """An open size may be 1 when the model runs: then all rows share a number."""
    monkeypatch.setattr(support, "OTHER_SIZE", rows)
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item, float[B,S,1] user_scale) => (float[B,5,4] y) <float[5,5] m> {
            x = Concat<axis = 1>(user, item) t = Transpose<perm = [0, 2, 1]>(x) s = MatMul(x, t)
            p = Mul(s, m) n = Mul(p, user_scale) y = MatMul(n, x)
        }""",
        m=triangle(5),
    )
    assert outcome.times == 0


def test_each_token_sees_only_itself_and_the_one_before() -> None:
    m = np.tril(np.ones((5, 5))) - np.tril(np.ones((5, 5)), -2)
    outcome = mixing(m=m)
    assert outcome.times == 1
    assert {rows for rows, _ in at_each_candidate(outcome, "Div")} <= {1, 2}


@given(m=st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5), min_size=5, max_size=5))
def test_any_mask(m: list[list[int]]) -> None:
    mixing(m=np.array(m, F32))
