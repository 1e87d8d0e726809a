"""([u, i] (h U)) W = (u (h U_u)) W_u + (i (h U_i)) W_i"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "columns-apart"
SIDES = "float[B,5] user, float[B,3] item, float[B,2] item_h"
WEIGHTS = (
    "float[2,8] v, float[8,2] vt, float[8] b, float[1,8] row, float[1] one, float[8,8] square, "
    "float[8,3] w, float[3,8] wt, float[3] c, float[10,3] tall"
)


def mixed(body: str, outputs: str = "float[B,3] y", sides: str = SIDES, opset: int = 17) -> Outcome:
    text = f"score ({sides}) => ({outputs}) <{WEIGHTS}> {{ x = Concat<axis = 1>(user, item) {body} }}"
    return apply(RULE, text, opset=opset, batches=(0, 1, 2, 7))


def has_wide_rows(outcome: Outcome) -> bool:
    """Whether anything is made that has columns of both sides for each candidate."""
    sizes = [outcome.size_of(v) for node in outcome.result.graph.node for v in node.output]
    return any(len(size) == 2 and size[1] == 8 for size in sizes)


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(
    "body",
    [
        "p = MatMul(item_h, v) m = Mul(x, p) y = MatMul(m, w)",
        "p = Gemm(item_h, v, b) m = Mul(p, x) y = Gemm(m, w, c)",
        "p = Gemm<transB = 1, alpha = 2.0>(item_h, vt, b) m = Mul(x, p) y = Gemm<transB = 1, alpha = 3.0>(m, wt, c)",
        "p = Gemm<transB = 2>(item_h, vt, b) m = Mul(x, p) y = Gemm<transB = 3>(m, wt, c)",
        "p = Gemm(item_h, v, row) m = Mul(x, p) s = Add(m, x) y = Gemm(s, w, one)",
        "p = Gemm(item_h, v, b) q = Sigmoid(p) z = Mul(q, row) r = Round(z) m = Sub(x, r) y = MatMul(m, w)",
        "p = Gemm(item_h, v, one) m = Mul(x, p) k = Mul(m, one) y = MatMul(k, w)",
        "h = Gemm(x, w) n = Gemm(h, wt) m = Mul(x, n) y = MatMul(m, w)",
        "p = Gemm(x, square, b) m = Mul(x, p) y = MatMul(m, w)",
        "p = MatMul(item_h, v) m = Mul(x, p) all = Concat<axis = 1>(item_h, m) y = MatMul(all, tall)",
        "p = MatMul(item_h, v) m = Mul(x, p) k = Abs(m) s = Add(k, x) y = MatMul(s, w)",
    ],
)
def test_products_between(body: str, opset: int) -> None:
    outcome = mixed(body, opset=opset)
    assert outcome.times == 1
    assert not has_wide_rows(outcome)


def test_several_layers() -> None:
    outcome = mixed(
        """h1 = MatMul(x, w) p1 = Gemm(h1, wt, b) m1 = Mul(x, p1) x1 = Add(m1, x)
        h2 = MatMul(x1, w) p2 = Gemm(h2, wt, b) m2 = Mul(x, p2) x2 = Add(m2, x1) y = Gemm(x2, w, c)"""
    )
    assert outcome.times == 1
    assert not has_wide_rows(outcome)


def test_two_ends() -> None:
    body = "p = MatMul(item_h, v) m = Mul(x, p) y = MatMul(m, w) s = Add(m, x) z = Gemm(s, w, c)"
    outcome = mixed(body, "float[B,3] y, float[B,3] z")
    assert outcome.times == 1
    assert not has_wide_rows(outcome)


def test_not_where_the_concat_joins_a_sum_of_the_columns(caplog: pytest.LogCaptureFixture) -> None:
    """It is another Concat by the time it would be replaced."""
    text = f"""score ({SIDES}) => (float[B,3] y) <{WEIGHTS}> {{
        p = MatMul(item_h, v) t = MatMul(p, w) x = Concat<axis = 1>(user, t) m = Mul(x, p) y = MatMul(m, w) }}"""
    assert apply(RULE, text).times == 0
    assert not caplog.records


def test_scales_of_each_side() -> None:
    """What was joined elsewhere is cut where the sides meet."""
    sides = "float[B,5] user, float[B,3] item, float[B,6] item_s, float[B,2] item_t, float[B,2] item_h"
    body = """p = MatMul(item_h, v) m = Mul(x, p) scales = Concat<axis = 1>(item_s, item_t)
        s = Mul(m, scales) y = MatMul(s, w)"""
    outcome = mixed(body, sides=sides)
    assert outcome.times == 1
    assert not has_wide_rows(outcome)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = MatMul(x, w)", ""),
        ("m = Mul(x, row) y = MatMul(m, w)", ""),
        ("p = MatMul(item_h, v) m = Mul(x, p) y = MatMul(m, w)", ", float[B,8] m"),
        ("p = MatMul(item_h, v) m = Mul(x, p) y = MatMul(m, w)", ", float[B,8] p"),
        ("p = MatMul(item_h, v) m = Mul(x, p) n = Softmax<axis = 1>(m) y = MatMul(n, w)", ""),
        ("p = MatMul(item_h, v) m = Mul(x, p) s = ReduceMax<axes = [1]>(m) y = MatMul(s, three)", ""),
        ("p = MatMul(x, t) m = Mul(x, p) y = MatMul(m, w)", ""),
        ("p = Gemm(item_h, v, item_b) m = Mul(x, p) y = MatMul(m, w)", ""),
    ],
)
def test_not_elsewhere(body: str, outputs: str) -> None:
    sides = f"{SIDES}, float[8,8] t, float[B,8] item_b, float[1,3] three"
    assert mixed(body, f"float[B,3] y{outputs}", sides).times == 0


@pytest.mark.parametrize(("width", "times"), [(900, 1), (5, 0)])
def test_kept_where_it_pays(width: int, times: int) -> None:
    """Few columns are repeated sooner than more operators are started."""
    sides = f"float[B,{width}] user, float[B,100] item"
    total = width + 100
    weights = f"float[{total},64] d1, float[64,{total}] u1, float[{total},64] d2"
    body = "x = Concat<axis = 1>(user, item) h = MatMul(x, d1) p = MatMul(h, u1) m = Mul(x, p) y = MatMul(m, d2)"
    model = model_of(f"score ({sides}) => (float[B,64] y) <{weights}> {{ {body} }}")
    applied = rewrite(at_work(model, sides_of(model)), RULES, CostModel()).applied
    assert sum(a.rule == RULE for a in applied) == times


@given(
    sizes=st.lists(st.tuples(st.sampled_from(["user", "item"]), st.integers(1, 3)), min_size=2, max_size=5),
    transposed=st.booleans(),
    bias=st.booleans(),
    added=st.booleans(),
)
def test_scattered_columns(sizes: list[tuple[str, int]], transposed: bool, bias: bool, added: bool) -> None:
    names = [f"{side}_{index}" for index, (side, _) in enumerate(sizes)]
    sides = ", ".join(f"float[B,{size}] {name}" for name, (_, size) in zip(names, sizes, strict=True))
    width = sum(size for _, size in sizes)
    weight = f"{width},2" if transposed else f"2,{width}"
    outcome = apply(
        RULE,
        f"""score ({sides}, float[B,2] item_h) => (float[B,3] y)
            <float[{weight}] v, float[{width}] b, float[{width},3] w> {{
                x = Concat<axis = -1>({", ".join(names)})
                p = Gemm<transB = {int(transposed)}>(item_h, v{", b" if bias else ""})
                m = Mul(x, p)
                s = {"Add(m, x)" if added else "Identity(m)"}
                y = MatMul(s, w)
            }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == (len({side for side, _ in sizes}) == 2)
