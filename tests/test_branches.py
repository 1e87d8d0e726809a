"""A branch that is always taken moves into the graph; names of values inside stay apart from those outside."""

from __future__ import annotations

import pytest

from tests.analysis.support import analyze, assert_right, parse

ALWAYS = "s = Shape(x) n = Gather(s, one) c = Equal(n, two)"
WEIGHTS = "<int64 one = {1}, int64 two = {2}>"


@pytest.mark.parametrize(("first", "second"), [("a", "n/a"), ("n/a", "a"), ("a", "b")])
def test_names_inside_that_are_like_new_ones(first: str, second: str) -> None:
    model = parse(f"""g (float[B,2] u, float[B,2] i) => (float[B,2] y) {WEIGHTS} {{
        x = Add(u, i) {ALWAYS}
        [n] y = If(c) <
            then_branch = t () => (float[?,?] r) {{ {_quoted(first)} = Neg(x) {_quoted(second)} = Abs(x)
                r = Sub({_quoted(first)}, {_quoted(second)}) }},
            else_branch = e () => (float[?,?] q) {{ q = Identity(x) }}
        >
    }}""")
    assert not any(getattr(node, "op", "") == "If" for node in analyze(model).network)
    assert_right(model)


def _quoted(name: str) -> str:
    return f'"{name}"'


@pytest.mark.parametrize(("inner", "captured"), [("u/repeated", "u"), ("h/once", "h"), ("h/repeated", "h")])
@pytest.mark.parametrize("state", ["u", "i"])
def test_a_subgraph_that_makes_a_name_like_new_ones(inner: str, captured: str, state: str) -> None:
    model = parse(f"""g (float[B,4] u, float[B,4] i) => (float[B,4] y) <int64 times = {{2}}, bool go = {{1}}> {{
        h = Sigmoid(u)
        o = Loop(times, go, {state}) <
            body = b (int64 it, bool ci, float[B,4] a) => (bool co, float[B,4] an) {{
                co = Identity(ci) {_quoted(inner)} = Neg(a) t = Add({captured}, {_quoted(inner)}) an = Tanh(t)
            }}
        >
        m = Mul(o, i) y = Add(m, h)
    }}""")
    assert_right(model)


def test_branches_whose_nodes_go_by_the_same_name() -> None:
    """Constants are folded all in one run, and ONNX Runtime loads no graph with two nodes of one name."""
    branch = """If(c) <
        then_branch = t () => (float[?,?] r) { [k] k = Shape(w) [f] f = Cast<to = 1>(k) [n] r = Mul(x, f) },
        else_branch = e () => (float[?,?] q) { q = Identity(x) }
    >"""
    model = parse(f"""g (float[B,2] u, float[B,2] i) => (float[B,2] y)
        <int64 one = {{1}}, int64 two = {{2}}, float[2] w = {{1.0, 1.0}}> {{
        x = Add(u, i) {ALWAYS} first = {branch} second = {branch} y = Sub(first, second)
    }}""")
    assert "Cast" not in {getattr(node, "op", "") for node in analyze(model).network}
    assert_right(model)
