"""f([x; y]) = [f(x); f(y)]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from tests.patterns.support import Outcome, apply, at_work, model_of, rule_named, sides_of, typed
from tests.patterns.test_tower_parts import CASES, GATES, INTS, LAST

RULE = "joined-rows"
PICK = "pick"

F32 = np.float32
W = np.random.default_rng(0).integers(-2, 3, (6, 6)).astype(F32)
FAR = np.iinfo(np.int64).max

BORDERS = f"""zero = {INTS.format([0])}
    far = {INTS.format([FAR])}
    all_sizes = Shape(item)
    border = Gather(all_sizes, zero)"""
"""How many candidates there are, as a list of one."""
APART = """o = Slice(q, zero, border, zero)
    read = Slice(q, border, far, zero)"""


def both(text: str, **settings: Any) -> Outcome:
    return apply([rule_named(RULE), rule_named(PICK)], text, **settings)


def times(outcome: Outcome) -> int:
    return sum(a.rule == RULE for a in outcome.applied)


def tower(
    layers: str,
    rest: tuple[int, ...] = (6,),
    *,
    to: tuple[int, ...] | None = None,
    parts: str = "item, u",
    apart: str = APART,
    **settings: Any,
) -> Outcome:
    """The rule on layers that turn ``r [B + B*3, *rest]`` into ``q``; three rows for each candidate are the user's."""
    to = rest if to is None else to
    return both(
        f"""score ({typed("float", ("B", 3, *rest))} user, {typed("float", ("B", *rest))} item)
            => ({typed("float", ("B", *to))} o, {typed("float", ("B", 3, *to))} x) {{
            flat = {INTS.format([-1, *rest])}
            u = Reshape(user, flat)
            {BORDERS}
            r = Concat<axis = 0>({parts})
            {layers}
            {apart}
            back = {INTS.format([-1, 3, *to])}
            x = Reshape(read, back)
        }}""",
        **settings,
    )


def rows_of(outcome: Outcome, op: str) -> set[object]:
    """How many rows an operator works on."""
    sizes = [outcome.size_of(node.output[0])[0] for node in outcome.of(op)]
    return {size if isinstance(size, int) else str(size) for size in sizes}


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", CASES)
def test_layers(op: str) -> None:
    layers, rest, to = CASES[op]
    weights: dict[str, np.ndarray] = {"w": W, "v": np.arange(1, 7).astype(F32), "kernel": W[:3, :4].reshape(3, 2, 2)}
    if op in GATES:
        random = np.random.default_rng(2)
        weights["a"] = random.normal(size=(1, 4 * GATES[op], 2)).astype(F32)
        weights["b"] = random.normal(size=(1, 4 * GATES[op], 4)).astype(F32)
    used = {name: array for name, array in weights.items() if f" {name}" in layers}
    opset = 23 if op == "RMSNormalization" else 18
    outcome = tower(layers.format(last=LAST), rest, to=to, opset=opset, exact=False, **used)
    assert times(outcome) == 1


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op: str) -> None:
    layers = f"along = {INTS.format([1])}\n p = Exp(r)\n q = {op}(p, along)"
    outcome = tower(layers, to=(1,), opset=18, exact=False)
    assert times(outcome) == 1
    assert rows_of(outcome, op) == {3, "B"}


def test_the_users_rows_run_once_and_nothing_is_joined_any_more() -> None:
    outcome = tower("h = MatMul(r, w)\n q = Tanh(h)", w=W, exact=False)
    assert times(outcome) == 1
    assert rows_of(outcome, "MatMul") == rows_of(outcome, "Tanh") == {3, "B"}
    assert not any(len(outcome.size_of(n.output[0])) > 1 for n in outcome.of("Concat"))
    assert outcome.workspace.is_user("x")


BEHIND = """minus = Neg(border)
    o = Slice(q, minus, far, zero)
    read = Slice(q, zero, minus, zero)"""
SPLIT = f"""three = {INTS.format([3])}
    many = Mul(border, three)
    lengths = Concat<axis = 0>(border, many)
    o, read = Split<axis = 0>(q, lengths)"""


@pytest.mark.parametrize(("parts", "apart"), [("item, u", APART), ("u, item", BEHIND), ("item, u", SPLIT)])
def test_rows_in_another_order_and_other_ways_to_take_them_apart(parts: str, apart: str) -> None:
    outcome = tower("q = Relu(r)", parts=parts, apart=apart)
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {3, "B"}


def test_the_two_texts_of_a_pair_are_halves() -> None:
    outcome = both(
        f"""score (float[B,6] user, float[B,6] item) => (float[B,6] o, float[B,6] x) {{
            r = Concat<axis = 0>(user, item)
            q = Relu(r)
            zero = {INTS.format([0])}
            one = {INTS.format([1])}
            two = {INTS.format([2])}
            size = Shape(q)
            all = Gather(size, zero)
            more = Add(all, one)
            half = Div(more, two)
            whole = Mul(half, two)
            o = Slice(q, zero, half, zero)
            x = Slice(q, half, whole, zero)
        }}"""
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {1, "B"}


@pytest.mark.parametrize("opset", [13, 18])
def test_a_split_into_halves(opset: int) -> None:
    count = "" if opset < 18 else "<axis = 0, num_outputs = 2>"
    outcome = both(
        f"""score (float[B,6] user, float[B,6] item) => (float[B,6] o, float[B,6] x) {{
            r = Concat<axis = 0>(user, item)
            q = Relu(r)
            o, x = Split{count}(q)
        }}""",
        opset=opset,
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {1, "B"}


@pytest.mark.parametrize("taken", ["o = Gather<axis = 0>(q, first)", "o = Slice(q, none, ones, none)"])
def test_a_query_that_is_given_once(taken: str) -> None:
    outcome = both(
        f"""score (float[1,6] query, float[B,6] item) => ({"float[6] o" if "Gather" in taken else "float[1,6] o"},
                                                          float[B,6] x) {{
            r = Concat<axis = 0>(query, item)
            q = Relu(r)
            none = {INTS.format([0])}
            ones = {INTS.format([1])}
            far = {INTS.format([FAR])}
            first = Constant<value_int = 0>()
            {taken}
            x = Slice(q, ones, far, none)
        }}"""
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {1, "B"}
    assert not outcome.ops["Concat"]


def test_three_parts_in_two_joints() -> None:
    outcome = both(
        f"""score (float[B,6] user, float[B,6] item, float[B,6] item_body) => (float[B,6] o, float[B,6] x) {{
            {BORDERS}
            two = {INTS.format([2])}
            twice = Mul(border, two)
            i = Concat<axis = 0>(item, item_body)
            r = Concat<axis = 0>(i, user)
            q = Relu(r)
            o = Slice(q, border, twice, zero)
            x = Slice(q, twice, far, zero)
        }}"""
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {1, "B"}


def test_as_many_steps_as_there_are() -> None:
    """How long a history is is open, so is how many rows there are."""
    outcome = both(
        f"""score (float[B,T,6] user, float[B,6] item) => (float[B,6] o, float[M,6] x) {{
            flat = {INTS.format([-1, 6])}
            u = Reshape(user, flat)
            {BORDERS}
            r = Concat<axis = 0>(item, u)
            q = Relu(r)
            o = Slice(q, zero, border, zero)
            x = Slice(q, border, far, zero)
        }}"""
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {"B", "dim:T"}


CHAIN = f"""score (float[B,3,6] user, float[B,6] item) => (float[X,6] x, float[Y,6] y, float[Z,6] z) {{
    flat = {INTS.format([-1, 6])}
    u = Reshape(user, flat)
    {BORDERS}
    r = Concat<axis = 0>(item, u)
    p = Relu(r)
    x = Slice(p, zero, border, zero)
    q = Softmax<axis = -1>(p)
    y = Slice(q, border, far, zero)
    s = Tanh(q)
    z = Slice(s, border, far, zero)
}}"""
"""Rows are taken apart in the middle of a tower as well."""


def test_ends_that_read_one_another() -> None:
    outcome = both(CHAIN)
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {"B", 3}
    assert rows_of(outcome, "Softmax") == rows_of(outcome, "Tanh") == {3}


@pytest.mark.parametrize(("op", "together"), [("Relu", 3), ("Softmax", 2), ("Tanh", 1)])
def test_an_end_that_another_one_reads_is_left_to_its_own_turn(op: str, together: int) -> None:
    """The node that a rule is asked about has to be as it was when all others have been replaced."""
    model = model_of(CHAIN)
    at = at_work(model, sides_of(model))
    node = next(n for n in at.graph.nodes if n.op == op)
    found = rule_named(RULE).match(node, at)
    assert found.ends[0] is node
    assert len(found.ends) == together


def test_ids_and_masks_that_are_joined_each_by_themselves() -> None:
    outcome = both(
        f"""score (int64[B,3,4] user, float[B,3,4] user_mask, int64[B,4] item, float[B,4] item_mask)
            => (float[B,6] o, float[Z,6] x) <float[4,6] table> {{
            flat = {INTS.format([-1, 4])}
            u = Reshape(user, flat)
            um = Reshape(user_mask, flat)
            {BORDERS}
            ids = Concat<axis = 0>(item, u)
            masks = Concat<axis = 0>(item_mask, um)
            words = Gather<axis = 0>(table, ids)
            two = {INTS.format([2])}
            wide = Unsqueeze(masks, two)
            kept = Mul(words, wide)
            one = {INTS.format([1])}
            q = ReduceSum<keepdims = 0>(kept, one)
            o = Slice(q, zero, border, zero)
            x = Slice(q, border, far, zero)
        }}"""
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "ReduceSum") == {3, "B"}


def test_words_on_the_axis_of_rows() -> None:
    """An axis may have several entries of each row on the way."""
    layers = f"""words = {INTS.format([-1, 2])}
        a = Reshape(r, words)
        p = Softmax<axis = -1>(a)
        again = {INTS.format([-1, 6])}
        q = Reshape(p, again)"""
    outcome = tower(layers, exact=False)
    assert times(outcome) == 1
    assert rows_of(outcome, "Softmax") == {9, "3*B"}


SIZED = """rows = Shape(r)
    count = Gather(rows, zero)"""


@pytest.mark.parametrize(
    "layers",
    [
        f"""{SIZED}
        rest = {INTS.format([2, 3])}
        target = Concat<axis = 0>(count, rest)
        a = Reshape(r, target)
        six = {INTS.format([6])}
        flat2 = Concat<axis = 0>(count, six)
        q = Reshape(a, flat2)""",
        f"""{SIZED}
        six = {INTS.format([6])}
        target = Concat<axis = 0>(count, six)
        state = ConstantOfShape<value = float[1] {{2}}>(target)
        q = Mul(r, state)""",
        f"""{SIZED}
        one = {INTS.format([1])}
        target = Concat<axis = 0>(count, one)
        positions = Expand(place, target)
        line = Gather<axis = 0>(w, positions)
        six = {INTS.format([6])}
        shape = Concat<axis = 0>(count, six)
        p = Reshape(line, shape)
        q = Add(r, p)""",
        f"""{SIZED}
        six = {INTS.format([6])}
        target = Concat<axis = 0>(count, six)
        p = Expand(v, target)
        both = Concat<axis = 1>(p, r)
        q = MatMul(both, tall)""",
    ],
)
def test_as_many_rows_as_there_are(layers: str) -> None:
    """A state of zeros, positions, a token that opens each text; and targets that name the number of rows."""
    weights = {"place": np.array([[1]]), "w": W, "v": W[:1], "tall": np.concatenate([W, W])}
    used = {n: a for n, a in weights.items() if f"({n}," in layers or f", {n})" in layers}
    outcome = tower(layers, **used)
    assert times(outcome) == 1
    assert outcome.workspace.is_user("x")


def test_several_ends_of_one_tower() -> None:
    """What is in front of both runs once on each part, not once for each end."""
    outcome = tower(
        "h = MatMul(r, w)\n q = Relu(h)\n q2 = Neg(h)",
        w=W,
        apart="""y1 = Slice(q, zero, border, zero)
            read1 = Slice(q, border, far, zero)
            y2 = Slice(q2, zero, border, zero)
            read2 = Slice(q2, border, far, zero)
            o = Add(y1, y2)
            read = Mul(read1, read2)""",
    )
    assert times(outcome) == 1
    assert rows_of(outcome, "MatMul") == {3, "B"}
    assert outcome.ops["MatMul"] == 2


def test_two_results_of_one_operator() -> None:
    random = np.random.default_rng(2)
    outcome = tower(
        """t = Transpose<perm = [1, 0, 2]>(r)
        every, h = GRU<hidden_size = 4>(t, a, b)
        steps = Squeeze(every, one1)
        by_row = Transpose<perm = [1, 0, 2]>(steps)
        state = Squeeze(h, zero)""",
        (3, 2),
        to=(4,),
        apart="""all = Slice(by_row, zero, border, zero)
            two = Constant<value_int = 2>()
            o = Gather<axis = 1>(all, two)
            read = Slice(state, border, far, zero)""",
        a=random.normal(size=(1, 12, 2)).astype(F32),
        b=random.normal(size=(1, 12, 4)).astype(F32),
        one1=np.array([1]),
        exact=False,
    )
    assert times(outcome) == 1
    assert outcome.ops["GRU"] == 2


def test_what_is_not_a_number_stays_in_its_row() -> None:
    outcome = tower("a = Log(r)\n b = Div(a, a)\n q = Softmax<axis = -1>(b)", exact=False)
    assert times(outcome) == 1


FIXED = """score (float[4,6] user, float[4,6] item) => (float[4,6] o, float[4,6] x) {
    r = Concat<axis = 0>(user, item)
    LAYER
    o, x = Split<axis = 0>(q)
}"""


def test_a_fixed_number_of_candidates() -> None:
    outcome = both(FIXED.replace("LAYER", "q = Relu(r)"), opset=13)
    assert times(outcome) == 1
    assert rows_of(outcome, "Relu") == {1, "B"}


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [
        "q = Softmax<axis = 0>(r)",
        "none = Constant<value_int = 0>()\n q = CumSum(r, none)",
        "t = Transpose<perm = [1, 0]>(r)\n s = MatMul(r, t)\n q = MatMul(s, r)",
        "m = ReduceMax(r, zero)\n q = Sub(r, m)",
        "m = ReduceMean(r, zero)\n q = Sub(r, m)",
    ],
)
def test_rows_that_are_mixed(layers: str) -> None:
    assert times(tower(layers, opset=18, exact=False)) == 0


@pytest.mark.parametrize(
    "layers",
    [
        f"{SIZED}\n n = Cast<to = 1>(count)\n q = Div(r, n)",
        f"{SIZED}\n k = Cast<to = 7>(r)\n m = Mul(k, count)\n q = Cast<to = 1>(m)",
        f"{SIZED}\n k = Cast<to = 7>(r)\n m = Add(k, border)\n q = Cast<to = 1>(m)",
    ],
)
def test_numbers_that_tell_how_many_rows_there_are(layers: str) -> None:
    assert times(tower(layers, exact=False)) == 0


def test_the_numbers_of_the_rows() -> None:
    layers = """rows = Shape(r)
        none = Constant<value_int = 0>()
        one = Constant<value_int = 1>()
        count = Gather(rows, none)
        places = Range(none, count, one)
        p = Cast<to = 1>(places)
        column = Unsqueeze(p, last)
        q = Add(r, column)"""
    assert times(tower(layers, last=np.array([1]))) == 0


def test_what_the_user_has_for_each_row() -> None:
    """Four rows for each candidate: they are not those of the parts."""
    outcome = both(
        f"""score (float[B,3,6] user, float[B,4,6] user_more, float[B,6] item) => (float[B,6] o, float[Z,6] x) {{
            flat = {INTS.format([-1, 6])}
            u = Reshape(user, flat)
            m = Reshape(user_more, flat)
            {BORDERS}
            r = Concat<axis = 0>(item, u)
            q = Add(r, m)
            o = Slice(q, zero, border, zero)
            x = Slice(q, border, far, zero)
        }}"""
    )
    assert times(outcome) == 0


def test_parts_that_end_elsewhere() -> None:
    outcome = both(
        f"""score (float[B,3,6] user, float[B,3,6] user_more, float[B,6] item, float[B,6] item_more)
            => (float[B,6] o, float[Z,6] x) {{
            flat = {INTS.format([-1, 6])}
            u = Reshape(user, flat)
            m = Reshape(user_more, flat)
            {BORDERS}
            r = Concat<axis = 0>(item, u)
            s = Concat<axis = 0>(m, item_more)
            q = Add(r, s)
            o = Slice(q, zero, border, zero)
            x = Slice(q, border, far, zero)
        }}"""
    )
    assert times(outcome) == 0


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_recurrences_that_may_have_no_rows(op: str) -> None:
    """ONNX Runtime 1.31 ends the process then; the joined rows are those of the candidates at least."""
    gates = GATES[op]
    text = f"""score (float[B,T,6] user, float[B,6] item) => (float[B,4] o, float[Z,4] x) <
        float[1,{4 * gates},2] a, float[1,{4 * gates},4] b> {{
        flat = {INTS.format([-1, 6])}
        u = Reshape(user, flat)
        {BORDERS}
        r = Concat<axis = 0>(item, u)
        words = {INTS.format([-1, 3, 2])}
        w = Reshape(r, words)
        t = Transpose<perm = [1, 0, 2]>(w)
        every, h = {op}<hidden_size = 4>(t, a, b)
        q = Squeeze(h, zero)
        o = Slice(q, zero, border, zero)
        x = Slice(q, border, far, zero)
    }}"""
    assert times(both(text, exact=False)) == 0


@pytest.mark.parametrize("rows", [4, 8])
def test_what_a_fixed_number_of_rows_has_each_for_itself(rows: int) -> None:
    """No size is taken for that of the rows; numbers of four rows cannot even be meant for eight."""
    layer = {8: "q = Add(r, v)", 4: "w = Concat<axis = 0>(v, v)\n q = Add(r, w)"}[rows]
    assert times(both(FIXED.replace("LAYER", layer), opset=13, v=np.arange(rows * 6).reshape(rows, 6).astype(F32))) == 0


def test_rows_that_nobody_takes_apart() -> None:
    text = """score (float[B,6] user, float[B,6] item) => (float[M,6] y) {
        r = Concat<axis = 0>(user, item)
        y = Relu(r)
    }"""
    assert times(both(text)) == 0
