"""What could run once per request, as a run shows it."""

from __future__ import annotations

import pytest

from mari_onnx.explain import explain
from mari_onnx.options import Options
from tests import rankers

OPTIONS = Options(user_inputs=["user_*"], candidates=100)


def found(body: str, **weights: tuple[int, ...]):
    could = explain(rankers.text(body, **weights), OPTIONS, run=True).attainable
    assert could is not None
    return could


def test_a_product_of_mixed_columns_is_attainable_in_part():
    could = found(
        """g (float[B,48] user_x, float[B,16] item_x) => (float[B,32] y) {
            x = Concat<axis=1>(user_x, item_x) y = MatMul(x, w)
        }""",
        w=(64, 32),
    )
    assert [(n.node, n.share) for n in could.nodes] == [("MatMul 'y'", 0.75)]
    assert could.before == 100 * 2 * 64 * 32
    assert could.attainable == 99 * 2 * 48 * 32
    assert could.after == 100 * 2 * 16 * 32 + 2 * 48 * 32
    assert could.reached == pytest.approx(1)


def test_the_users_columns_of_a_stacked_input_are_attainable():
    text = "g (float[B,64] x) => (float[B,32] y) { y = MatMul(x, w) }"
    options = Options(user_inputs=["x[:,0:48]"], candidates=100)
    could = explain(rankers.text(text, w=(64, 32)), options, run=True).attainable
    assert could is not None
    assert [(n.node, n.share) for n in could.nodes] == [("MatMul 'y'", 0.75)]
    assert could.before == 100 * 2 * 64 * 32
    assert could.reached == pytest.approx(1)


def test_what_the_items_alone_make_is_not_attainable():
    could = found(
        """g (float[B,48] user_x, float[B,48] item_x) => (float[B,32] y) {
            i = MatMul(item_x, w) u = MatMul(user_x, w) y = Add(i, u)
        }""",
        w=(48, 32),
    )
    assert {n.node: n.share for n in could.nodes} == {"MatMul 'u'": 1, "MatMul 'i'": 0}


def test_a_silent_unit_depends_on_the_items_all_the_same():
    could = found(
        """g (float[B,8] user_x, float[B,8] item_x) => (float[B,4] y) {
            far = Constant<value_floats=[-1000.0, -1000.0, -1000.0, -1000.0, -1000.0, -1000.0, -1000.0, -1000.0]>()
            s = Add(item_x, far) h = Relu(s) z = Add(h, user_x) y = MatMul(z, w)
        }""",
        w=(8, 4),
    )
    assert could.attainable == 0
    assert could.reached is None


def test_what_no_operator_table_knows_is_seen_as_well():
    could = found(
        """g (float[B,8] user_x, float[B,8] item_x) => (float[B,4] y) {
            zero = Sub(item_x, item_x) z = Add(zero, user_x) h = MatMul(z, w) i = MatMul(item_x, w) y = Add(h, i)
        }""",
        w=(8, 4),
    )
    assert could.attainable == 99 * 2 * 8 * 4
    assert could.reached == 0


def test_a_recurrent_layer_counts_where_all_of_its_input_is_the_users():
    could = found(
        """g (float[B,5,4] user_x, float[B,4] item_x) => (float[1,B,4] y) {
            steps = Transpose<perm=[1,0,2]>(user_x) all, last = GRU<hidden_size=4>(steps, w, r) y = Mul(last, item_x)
        }""",
        w=(1, 12, 4),
        r=(1, 12, 4),
    )
    assert could.attainable == 99 * 2 * 5 * (48 + 48)
    assert could.reached == pytest.approx(1)


def test_without_products_there_is_nothing_to_reach():
    body = "g (float[B,4] user_x, float[B,4] item_x) => (float[B,4] y) { y = Add(user_x, item_x) }"
    could = found(body)
    assert (could.before, could.reached) == (0, None)
    assert could.to_json() == {"before": 0, "attainable": 0.0, "after": 0, "nodes": [], "reached": None}
