"""[view(x), view(y)] = view([x, y])"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, rule_named, typed

RULE = "flat-stack"
STACKED = "a = Unsqueeze(item_x, one) b = Unsqueeze(item_y, one)"
TWO = "float[B,4] item_x, float[B,4] item_y"


def text(sides: str, nodes: str, result: str) -> str:
    return f"score ({sides}) => (float[{result}] y) <int64[1] one = {{1}}, int64[2] flat = {{-1, 8}}> {{ {nodes} }}"


# -- fires -------------------------------------------------------------------------------------------------------------


def test_rows_that_are_stacked() -> None:
    outcome = apply(RULE, text(TWO, f"{STACKED} y = Concat<axis = 1>(a, b)", "B,2,4"))
    assert outcome.times == 1
    assert outcome.ops == {"Concat": 1, "Reshape": 1}


def test_rows_that_are_stacked_and_laid_end_to_end() -> None:
    """What views the stack meets what makes it, once no other rule looks for tokens there."""
    nodes = f"{STACKED} s = Concat<axis = 1>(a, b) r = Relu(s) y = Reshape(r, flat)"
    outcome = apply([rule_named(RULE), rule_named("views")], text(TWO, nodes, "B,8"))
    assert outcome.ops == {"Concat": 1, "Relu": 1, "Reshape": 2}
    nodes = f"{STACKED} s = Concat<axis = 1>(a, b) y = Reshape(s, flat)"
    assert apply([rule_named(RULE), rule_named("views")], text(TWO, nodes, "B,8")).ops == {"Concat": 1}


def test_a_row_beside_rows_that_are_stacked_already() -> None:
    """One more view of its own is still one view less."""
    sides = "float[B,4] item_x, float[B,4] item_y, float[B,2,4] item_z"
    nodes = "c = Unsqueeze(item_x, one) d = Unsqueeze(item_y, one) e = Unsqueeze(item_x, one) z = Relu(item_z) "
    outcome = apply(RULE, text(sides, nodes + "y = Concat<axis = 1>(c, z, d, e)", "B,5,4"))
    assert outcome.times == 1
    assert outcome.ops == {"Concat": 1, "Relu": 1, "Reshape": 2}


def test_the_rows_of_a_user_and_of_an_item() -> None:
    sides = "float[B,4] user, float[B,4] item"
    nodes = "a = Unsqueeze(user, one) b = Unsqueeze(item, one) y = Concat<axis = 1>(a, b)"
    assert apply(RULE, text(sides, nodes, "B,2,4")).times == 1


@given(st.data())
def test_any_layout(data: st.DataObject) -> None:
    """Whatever axis is joined, and however each part was viewed."""
    lead = ["B", *data.draw(st.lists(st.integers(1, 3), max_size=1))]
    tail = data.draw(st.lists(st.integers(1, 3), max_size=2))
    counts = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    sides, nodes, shapes = [], [], {}
    for place, count in enumerate(counts):
        flat = [*lead, count * int(np.prod(tail))]
        sides.append(f"{typed('float', flat)} item_{place}")
        shapes[f"shape_{place}"] = np.array([-1, *lead[1:], count, *tail])
        nodes.append(f"part_{place} = Reshape(item_{place}, shape_{place})")
    parts = ", ".join(f"part_{place}" for place in range(len(counts)))
    result = typed("float", [*lead, sum(counts), *tail])
    nodes.append(f"y = Concat<axis = {len(lead)}>({parts})")
    outcome = apply(RULE, f"score ({', '.join(sides)}) => ({result} y) {{ {' '.join(nodes)} }}", **shapes)
    assert outcome.times == (1 if tail else 0)


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_the_axes_in_front_are_others() -> None:
    nodes = "a = Reshape(item_x, turned) b = Reshape(item_y, turned) y = Concat<axis = 1>(a, b)"
    graph = (
        f"score (float[2,B] item_x, float[2,B] item_y) => (float[B,4] y) <int64[2] turned = {{-1, 2}}> {{ {nodes} }}"
    )
    assert apply(RULE, graph).times == 0


def test_not_where_nothing_is_viewed() -> None:
    sides = "float[B,1,4] item_x, float[B,1,4] item_y"
    assert apply(RULE, text(sides, "y = Concat<axis = 1>(item_x, item_y)", "B,2,4")).times == 0


def test_not_where_entries_move() -> None:
    sides = "float[B,4,1] item_x, float[B,4,2] item_y"
    nodes = "b = Transpose<perm = [0, 2, 1]>(item_y) a = Reshape(b, both) y = Concat<axis = 1>(item_x, a)"
    graph = text(sides, nodes, "B,12,1").replace("flat = {-1, 8}", "both = {-1, 8, 1}").replace("int64[2]", "int64[3]")
    assert apply(RULE, graph).of("Transpose")


def test_not_of_parts_without_entries() -> None:
    sides = "float[B,4] item_x, float[B,0] item_y"
    nodes = "a = Unsqueeze(item_x, one) b = Reshape(item_y, flat) y = Concat<axis = 1>(a, b)"
    graph = text(sides, nodes, "B,1,4").replace("flat = {-1, 8}", "flat = {0, 0, 4}").replace("int64[2]", "int64[3]")
    assert apply(RULE, graph).times == 0


def test_not_before_others_have_looked_for_tokens() -> None:
    """A product over stacked rows of both sides is split first."""
    sides = "float[B,4] user, float[B,4] item"
    graph = f"""score ({sides}) => (float[B,2,3] y) <int64[1] one = {{1}}, float[4,3] w> {{
        a = Unsqueeze(user, one)
        b = Unsqueeze(item, one)
        s = Concat<axis = 1>(a, b)
        y = MatMul(s, w)
    }}"""
    outcome = apply([rule_named(RULE), rule_named("concat-tokens")], graph)
    assert outcome.applied[0].rule == "concat-tokens"
    assert len(outcome.of("MatMul")) == 2
