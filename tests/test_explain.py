"""What is told of a model: sides, rules, refusals, and what is still in the way."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from onnx import numpy_helper

from mari_onnx.attainable import Attainable
from mari_onnx.explain import explain
from mari_onnx.ir import read_graph
from mari_onnx.leftovers import Kind
from mari_onnx.options import Options
from mari_onnx.rewrite.cost import CostModel
from tests import rankers
from tests.cli.conftest import cli  # noqa: F401  # a fixture

OPTIONS = Options(user_inputs=["user_*"], candidates=100)
BLOCKED = """
g (float[B,64] user_x, float[B,64] item_x) => (float[B,1] score) {
  x = Concat<axis=1>(user_x, item_x)
  n = Hardmax<axis=1>(x)
  h = MatMul(n, w)
  r = Relu(h)
  score = MatMul(r, v)
}
"""
RANDOM = """
g (float[B,64] user_x, float[B,64] item_x) => (float[B,1] score) {
  r = RandomNormalLike<seed=1.0>(user_x)
  s = Mul(r, user_x)
  h = MatMul(s, w)
  x = Add(h, item_x)
  score = MatMul(x, v)
}
"""


STACKED = """
g (float[B,8] user_x, float[B,8] user_y, float[B,8] item_x) => (float[B,3,4] score) {
  a = Unsqueeze(user_x, one)
  b = Unsqueeze(user_y, one)
  c = Unsqueeze(item_x, one)
  x = Concat<axis=1>(a, b, c)
  n = Hardmax<axis=1>(x)
  h = MatMul(x, w)
  m = MatMul(n, w)
  score = Add(h, m)
}
"""


HEADS_END_TO_END = """
g (float[B,4,64] user_x, float[B,64,3] item_x) => (float[B,4,6] score) {
  a = Slice(user_x, zero, half, last)
  b = Slice(user_x, half, all, last)
  u = Concat<axis=0>(a, b)
  c = Slice(item_x, zero, half, middle)
  d = Slice(item_x, half, all, middle)
  i = Concat<axis=0>(c, d)
  h = MatMul(u, i)
  r = Shape<start=0, end=1>(item_x)
  e = Slice(h, zero, r, zero)
  f = Slice(h, r, all, zero)
  score = Concat<axis=2>(e, f)
}
"""


def blocked():
    return rankers.text(BLOCKED, w=(128, 64), v=(64, 1))


def test_sides_and_shares_of_the_original():
    found = explain(rankers.ranker(), OPTIONS)
    assert found.inputs == {"user_x": "user", "item_x": "item"}
    assert {side: share.nodes for side, share in found.sides.items()} == {
        "shared": 0,
        "user": 0,
        "item": 0,
        "cross": 4,
        "opaque": 0,
    }
    assert found.sides["user"].values == 1
    assert found.sides["cross"].flops == 2 * 100 * (68 * 32 + 32)


def test_where_the_trace_is_lost_and_what_comes_behind():
    (lost,) = explain(rankers.text(RANDOM, w=(64, 64), v=(64, 1)), OPTIONS).lost
    assert lost.reason.startswith("RandomNormalLike 'r': draws random numbers")
    assert lost.nodes == 5
    assert lost.flops == 2 * 100 * 64 * (64 + 1)
    assert explain(rankers.ranker(), OPTIONS).lost == ()


def test_what_each_rule_did():
    found = explain(rankers.ranker(), OPTIONS)
    (use,) = [u for u in found.rules if u.rule == "split-product"]
    assert (use.times, use.exactness) == (1, "reassociating")
    assert use.algebra == "[u, i] W = u W_u + i W_i"
    assert sum(u.times for u in found.rules) == len(found.applied)
    assert found.report.rewrites["split-product"] == 1
    assert found.leftovers == ()


def test_why_rules_were_refused():
    found = explain(rankers.text(rankers.BODY, w=(68, 32), b=(32,), v=(32, 1)), OPTIONS)
    assert all(r.reason for r in found.refused)


def test_a_product_of_mixed_rows_and_the_node_in_the_way():
    found = explain(blocked(), OPTIONS)
    (left, *_) = [one for one in found.leftovers if one.kind is Kind.MIXED]
    assert left.node == "Hardmax 'n'"
    assert left.nodes == ("MatMul 'h'",)
    assert "50% of which are the user's" in left.reason
    assert left.flops == 0.5 * 2 * 100 * 128 * 64


def test_a_view_of_stacked_rows_is_not_in_the_way():
    """They are stacked by one view in the end, of which no rule has anything to say."""
    model = rankers.text(STACKED, w=(8, 4))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    found = explain(model, OPTIONS)
    (left,) = [one for one in found.leftovers if one.kind is Kind.REPEATED]
    assert left.node.startswith("Concat")
    assert "Hardmax 'n' wants user and item in one value" in left.reason
    mixed = [one for one in found.leftovers if one.kind is Kind.MIXED]
    assert [one.node for one in mixed] == ["MatMul 'h'", "Hardmax 'n'"]


def test_a_repeated_value_and_the_node_that_reads_it():
    found = explain(blocked(), OPTIONS)
    (left,) = [one for one in found.leftovers if one.kind is Kind.REPEATED]
    assert left.node == "Concat 'x'"
    assert "Hardmax 'n' wants user and item in one value" in left.reason
    assert (left.elements, left.bytes) == (100 * 64, 100 * 64 * 4)


def test_what_is_written_in_front_of_a_view_counts_as_well():
    """Rows of several heads end to end are repeated by an Expand, of which the product reads a view."""
    model = rankers.text(HEADS_END_TO_END)
    for name, number in {"zero": 0, "half": 32, "all": 10**6, "middle": 1, "last": 2}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array([number]), name))
    found = explain(model, OPTIONS)
    (left,) = [one for one in found.leftovers if one.kind is Kind.REPEATED]
    assert left.node == "MatMul 'h'"
    assert [name.split()[0] for name in left.nodes] == ["Reshape"]
    assert left.microseconds > CostModel().launch, "more than a view takes"


def test_what_could_not_be_proven_and_the_operator_to_blame():
    found = explain(rankers.text(RANDOM, w=(64, 64), v=(64, 1)), OPTIONS)
    (left,) = [one for one in found.leftovers if one.kind is Kind.UNPROVEN]
    assert left.node == "RandomNormalLike 'r'"
    assert "random numbers" in left.reason
    assert left.nodes == ("RandomNormalLike 'r'", "Mul 's'", "MatMul 'h'")
    assert left.flops == 2 * 100 * 64 * 64


def test_the_costliest_comes_first():
    costs = [left.microseconds for left in explain(blocked(), OPTIONS).leftovers]
    assert costs == sorted(costs, reverse=True)


def test_an_output_that_repeats_a_user_value_is_no_leftover():
    body = """g (float[B,4] user_x, float[B,4] item_x) => (float[B,4] a, float[B,4] b) {
        a = Neg(user_x) b = Add(a, item_x)
    }"""
    assert explain(rankers.text(body), OPTIONS).leftovers == ()


def test_work_on_items_alone_and_where_it_ends():
    body = """g (float[B,4] user_x, float[B,8] item_x) => (float[B,3] a, float[B,3] b) {
        i = MatMul(item_x, v) t = Tanh(i) n = Neg(t)
        x = Concat<axis=1>(user_x, t) a = Gemm(x, w, c) b = Mul(n, c)
    }"""
    found = explain(rankers.text(body, v=(8, 3), w=(7, 3), c=(3,)), OPTIONS).item_only
    by_value = {one.value: one for one in found}
    (half,) = [one for one in found if one.node.startswith("Gemm")]
    assert set(by_value) == {half.value, "b"}
    assert half.flops == 2 * 100 * (8 * 3 + 3 * 3)
    assert half.nodes[:2] == ("MatMul 'i'", "Tanh 't'")
    assert half.bytes == 3 * 4
    assert by_value["b"].nodes == ("MatMul 'i'", "Tanh 't'", "Neg 'n'", "Mul 'b'")
    assert [one.microseconds for one in found] == sorted((one.microseconds for one in found), reverse=True)


def test_nothing_is_of_items_alone_where_user_and_item_meet_at_once():
    body = "g (float[B,4] user_x, float[B,4] item_x) => (float[B,4] y) { s = Mul(user_x, item_x) y = Tanh(s) }"
    assert explain(rankers.text(body), OPTIONS).item_only == ()


def test_a_run_shows_what_was_not_proven():
    body = """g (float[B,4] user_x, float[B,4] item_x) => (float[B,8] score) {
        zero = Sub(item_x, item_x) same = Add(zero, user_x) score = Concat<axis=1>(same, item_x)
    }"""
    found = explain(rankers.text(body), OPTIONS, run=True)
    assert {f.value for f in found.findings} == {"zero", "same"}
    assert not any(f.is_bug for f in found.findings)
    assert explain(rankers.text(body), OPTIONS).findings is None


def test_a_run_with_candidates_on_another_axis():
    body = """g (float[5,B,4] user_x, float[B,4] item_x) => (float[5,B,4] y) {
        s = Tanh(user_x) y = Mul(s, item_x)
    }"""
    assert explain(rankers.text(body), OPTIONS, run=True).findings == ()


def test_refusals_name_nodes_that_a_reader_can_find():
    found = explain(rankers.ranker(), OPTIONS)
    known = {node.where() for node in read_graph(rankers.ranker()).nodes}
    known |= {node for one in found.applied for node in one.added}
    assert {one.node for one in found.refused} <= known


def test_a_run_with_external_data(tmp_path):
    found = explain(rankers.with_tables(tmp_path), OPTIONS, run=True)
    assert not any(f.is_bug for f in found.findings)


def test_json_holds_plain_values():
    found = explain(blocked(), OPTIONS, run=True)
    again = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert again["leftovers"][0]["kind"] in {"mixed", "repeated"}
    assert again["sides"]["cross"]["nodes"] == 5


class TestCommand:
    @pytest.fixture
    def path(self, tmp_path):
        return rankers.save(blocked(), tmp_path / "m.onnx")

    def test_text(self, cli, path, tmp_path):  # noqa: F811
        done = cli("explain", path, "--user", "user_x")
        assert done.status == 0, done.err
        assert "user inputs: user_x" in done.out
        assert "Hardmax 'n'" in done.out
        assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]

    def test_where_the_trace_is_lost(self, cli, path, tmp_path):  # noqa: F811
        drawn = rankers.save(rankers.text(RANDOM, w=(64, 64), v=(64, 1)), tmp_path / "drawn.onnx")
        told = cli("explain", drawn, "--user", "user_x").out
        assert "Where candidates are lost sight of\n" in told
        assert re.search(r"^ *\d+\.\d us +4\.26M +5 +RandomNormalLike 'r': draws random numbers", told, flags=re.M)
        assert "lost sight of" not in cli("explain", path, "--user", "user_x").out

    def test_figures_say_what_they_are(self, cli, path, tmp_path):  # noqa: F811
        blocked = cli("explain", path, "--user", "user_x").out
        assert re.search(r"^ *\d+\.\d us .*Hardmax 'n'", blocked, flags=re.M)
        split = rankers.save(rankers.ranker(), tmp_path / "split.onnx")
        told = cli("explain", split, "--user", "user_x", "--candidates", "64").out
        assert "times are estimates for one request of 64 candidates, in microseconds (us)\n" in told
        assert "time saved: with that of the rewrites which were tried and kept together with it\n" in told
        assert re.search(r"^split-product +1 +\d+\.\d us +reassociating +\[u, i\] W", told, flags=re.M)

    @pytest.mark.parametrize(
        ("after", "sentence"),
        [
            (70.0, "the result saves 30 FLOP, which is 75% of that\n"),
            (60.0, "the result saves 40 FLOP, which is 100% of that\n"),
            (40.0, "the result saves 60 FLOP, 20 more than that: rules save other work, too\n"),
            (110.0, "the result saves none of that, and has 10 FLOP more\n"),
        ],
    )
    def test_what_could_be_saved_and_what_is(self, cli, path, monkeypatch, after, sentence):  # noqa: F811
        could = Attainable(100.0, 40.0, after, ())
        monkeypatch.setattr("mari_onnx.attainable.attainable", lambda *args: could)
        told = cli("explain", path, "--user", "user_x", "--probe").out
        assert f"of 100 FLOP, 40 (40%) need not be repeated for each item\n{sentence}" in told

    def test_details(self, cli, path):  # noqa: F811
        assert "Seen in a run" in cli("explain", path, "--user", "user_x", "--probe", "-v").out

    def test_json(self, cli, path):  # noqa: F811
        found = cli("explain", path, "--user", "user_x", "--json", "--probe").json
        assert found["verb"] == "explain"
        assert found["findings"] == []

    def test_quiet(self, cli, path):  # noqa: F811
        assert cli("explain", path, "--user", "user_x", "-q").out == ""

    def test_trouble(self, cli, path):  # noqa: F811
        assert cli("explain", path, "--user", "nobody").status == 2
