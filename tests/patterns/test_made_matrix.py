"""reshape(y V + c) a = reshape(y (V a) + c a)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "made-matrix"
GEMM = "h = Gemm(item, v, c)"
PLAIN = "h = MatMul(item, v)"
ADDED = "g = MatMul(item, v) h = Add(c, g)"
BEHIND = "a = Unsqueeze(user, two) y = MatMul(m, a)"
IN_FRONT = "a = Unsqueeze(user, one) y = MatMul(a, m)"
VIEW = "shape = Constant<value_ints = [0, {rows}, {columns}]>() m = Reshape(h, shape)"
TURNED = (
    "shape = Constant<value_ints = [0, {columns}, {rows}]>() t = Reshape(h, shape) m = Transpose<perm = [0, 2, 1]>(t)"
)


def product(layer: str = GEMM, made: str = VIEW, times: str = BEHIND, *, weight: str = "5,12") -> Outcome:
    """A layer makes twelve entries of five, four rows of three or three rows of four, for the user's three."""
    behind = times != IN_FRONT
    rows, columns, result = (4, 3, "4,1") if behind else (3, 4, "1,4")
    return apply(
        RULE,
        f"""score (float[B,3] user, float[B,5] item, float[B,12] item_late) => (float[B,{result}] y)
        <float[{weight}] v, float[12] c> {{
            one = Constant<value_ints = [1]>() two = Constant<value_ints = [2]>()
            {layer} {made.format(rows=rows, columns=columns)} {times}
        }}""",
    )


@pytest.mark.parametrize("layer", [GEMM, PLAIN, ADDED])
@pytest.mark.parametrize("made", [VIEW, TURNED])
@pytest.mark.parametrize("times", [BEHIND, IN_FRONT])
def test_the_users_vector_goes_into_the_weight(layer: str, made: str, times: str) -> None:
    outcome = product(layer, made, times)
    assert outcome.times == 1
    products = outcome.of("Gemm") + outcome.of("MatMul")
    (each,) = (n for n in products if outcome.workspace.fact(n.output[0]).axis is not None)
    assert outcome.size_of(each.input[1]) == (5, 4), "no matrix is made for a candidate"


def test_a_weight_stored_transposed_and_scaled() -> None:
    assert product("h = Gemm<transB = 1, alpha = 2.0>(item, v, c)", weight="12,5").times == 1


@pytest.mark.parametrize("made", [VIEW, TURNED])
@pytest.mark.parametrize(("operands", "shape"), [("m, user", "3,2"), ("user, m", "2,3")])
def test_several_vectors(made: str, operands: str, shape: str) -> None:
    rows, columns, given = (3, 4, "4,2") if operands == "m, user" else (4, 3, "2,4")
    outcome = apply(
        RULE,
        f"""score (float[B,{given}] user, float[B,5] item) => (float[B,{shape}] y) <float[5,12] v, float[12] c> {{
            {GEMM} {made.format(rows=rows, columns=columns)} y = MatMul({operands})
        }}""",
    )
    assert outcome.times == 1


def test_a_bias_that_the_user_makes() -> None:
    text = """score (float[B,3] user, float[B,12] user_row, float[B,5] item) => (float[B,4,1] y) <float[5,12] v> {
        g = MatMul(item, v) h = Add(g, user_row)
        shape = Constant<value_ints = [0, 4, 3]>() m = Reshape(h, shape)
        two = Constant<value_ints = [2]>() a = Unsqueeze(user, two) y = MatMul(m, a)
    }"""
    assert apply(RULE, text).times == 1


def test_rows_of_the_item() -> None:
    text = """score (float[B,3] user, float[B,6,5] item) => (float[B,6,4,1] y) <float[5,12] v, float[12] c> {
        g = MatMul(item, v) h = Add(g, c)
        shape = Constant<value_ints = [0, 6, 4, 3]>() m = Reshape(h, shape)
        axes = Constant<value_ints = [1, 3]>() a = Unsqueeze(user, axes) y = MatMul(m, a)
    }"""
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize(
    "layer",
    [
        "g = MatMul(item, v) h = Relu(g)",
        "h = Gemm(item, v, item_late)",
        "h = Gemm<beta = 2.0>(item, v, c)",
        "g = MatMul(item, v) h = Add(g, item_late)",
    ],
)
def test_matrices_that_are_no_layer_stay(layer: str) -> None:
    assert product(layer).times == 0


@pytest.mark.parametrize(
    ("step", "times"),
    [("b = Add(a, a)", 1), ("b = Div(a, a)", 0), ("z = Log(a) g = Less(z, a) b = Cast<to = 1>(g)", 1)],
)
def test_a_vector_that_may_be_infinite_stays(step: str, times: int) -> None:
    """An infinite score, which a Sigmoid makes one or zero, would be no number."""
    assert product(times=f"a = Unsqueeze(user, two) {step} y = MatMul(m, b)").times == times


def test_a_vector_for_each_row_of_the_user_stays() -> None:
    text = """score (float[B,6,3] user, float[B,6,5] item) => (float[B,6,4,1] y) <float[5,12] v> {
        h = MatMul(item, v) shape = Constant<value_ints = [0, 6, 4, 3]>() m = Reshape(h, shape)
        three = Constant<value_ints = [3]>() a = Unsqueeze(user, three) y = MatMul(m, a)
    }"""
    assert apply(RULE, text).times == 0


def test_a_matrix_of_several_rows_of_the_layer_stays() -> None:
    text = """score (float[B,3] user, float[B,4,5] item) => (float[B,4,1] y) <float[5,3] v> {
        h = MatMul(item, v) two = Constant<value_ints = [2]>() shape = Constant<value_ints = [0, 4, 3]>()
        f = Flatten<axis = 1>(h) m = Reshape(f, shape) a = Unsqueeze(user, two) y = MatMul(m, a)
    }"""
    assert apply(RULE, text).times == 0


def test_vectors_of_the_item_stay() -> None:
    text = """score (float[B,3] item_too, float[B,5] item) => (float[B,4,1] y) <float[5,12] v> {
        h = MatMul(item, v) two = Constant<value_ints = [2]>() shape = Constant<value_ints = [0, 4, 3]>()
        m = Reshape(h, shape) a = Unsqueeze(item_too, two) y = MatMul(m, a)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(("vectors", "candidates", "times"), [(1, 512, 1), (1, 8, 1), (40, 512, 0), (8, 1, 0)])
def test_kept_where_it_pays(vectors: int, candidates: int, times: int) -> None:
    text = f"""score (float[B,64,{vectors}] user, float[B,64] item) => (float[B,16,{vectors}] y) <float[64,1024] v> {{
        h = MatMul(item, v) shape = Constant<value_ints = [0, 16, 64]>() m = Reshape(h, shape) y = MatMul(m, user)
    }}"""
    model = model_of(text)
    prices = CostModel(candidates=candidates)
    found = rewrite(at_work(model, sides_of(model)), [r for r in RULES if r.name == RULE], prices)
    assert len(found.applied) == times


@given(
    free=st.integers(1, 4), summed=st.integers(2, 7), many=st.integers(1, 3), behind=st.booleans(), turn=st.booleans()
)
def test_any_sizes(free: int, summed: int, many: int, behind: bool, turn: bool) -> None:
    rows, columns = (free, summed) if behind else (summed, free)
    given, shape = (f"{columns},{many}", f"{rows},{many}") if behind else (f"{many},{rows}", f"{many},{columns}")
    text = f"""score (float[B,{given}] user, float[B,2] item) => (float[B,{shape}] y)
        <float[2,{rows * columns}] v, float[{rows * columns}] c> {{
            {GEMM} {(TURNED if turn else VIEW).format(rows=rows, columns=columns)}
            y = MatMul({"m, user" if behind else "user, m"})
        }}"""
    assert apply(RULE, text).times == (2 * many <= summed)
