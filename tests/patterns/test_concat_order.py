"""x W = (x P) (P^T W)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply, rule_named, typed

RULE = "concat-order"
OPSETS = pytest.mark.parametrize("opset", [11, 13, 17])


def turns(outcome: Outcome) -> int:
    """How often user and item parts take turns in the Concat of both that is left."""
    counts = []
    for node in outcome.of("Concat"):
        sides = [outcome.workspace.is_once(v) for v in node.input]
        if len(set(sides)) > 1:
            counts.append(1 + sum(a != b for a, b in itertools.pairwise(sides)))
    return max(counts)


MIXED = "float[B,2] user, float[B,1] item, float[B,3] user2, float[B,2] item2"


def mixed(
    nodes: str, weights: str, result: str = "B,3", *, opset: int = 17, inputs: str = "", axis: int = 1
) -> Outcome:
    return apply(
        RULE,
        f"""score ({MIXED}{inputs}) => (float[{result}] y) <{weights}> {{
            x = Concat<axis = {axis}>(user, item, user2, item2)
            {nodes}
        }}""",
        opset=opset,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@OPSETS
@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ("y = MatMul(x, w)", "float[8,3] w"),
        ("y = Gemm(x, w, b)", "float[8,3] w, float[3] b"),
        ("y = Gemm<transB = 1>(x, w)", "float[3,8] w"),
        ("z = Relu(x) y = MatMul(z, w)", "float[8,3] w"),
        ("z = Mul(x, s) y = MatMul(z, w)", "float[8] s, float[8,3] w"),
        ("z = Add(x, s) y = MatMul(z, w)", "float[1,8] s, float[8,3] w"),
        ("z = Mul(x, s) y = MatMul(z, w)", "float[1] s, float[8,3] w"),
        ("z = MatMul(x, v) p = Mul(x, z) s = Add(p, x) y = MatMul(s, w)", "float[8,8] v, float[8,3] w"),
        ("z = Gemm(x, v, b) p = Mul(z, x) y = MatMul(p, w)", "float[8,8] v, float[8] b, float[8,3] w"),
        ("z = MatMul(x, v) p = Mul(x, z) y = Gemm<transB = 1>(p, w)", "float[8,8] v, float[3,8] w"),
        ("c = Concat<axis = 1>(x, item2) y = MatMul(c, w)", "float[10,3] w"),
        ("c = Concat<axis = 1>(item2, x, item) y = MatMul(c, w)", "float[11,3] w"),
    ],
)
def test_columns_of_a_product(nodes: str, weights: str, opset: int) -> None:
    outcome = mixed(nodes, weights, opset=opset)
    assert outcome.times == 1
    assert turns(outcome) <= 3


@OPSETS
def test_the_order_of_two_sides(opset: int) -> None:
    outcome = mixed("y = MatMul(x, w)", "float[8,3] w", opset=opset)
    assert turns(outcome) == 2
    assert outcome.ops["Expand"] == 1


def test_a_part_that_is_made_anew() -> None:
    """The new order goes on, past the Concat, to what one of its parts is made of."""
    outcome = apply(
        RULE,
        """score (float[B,1,2] user, float[B,2,2] item, float[B,1,2] user2) => (float[B,2] y)
        <float[3,2] v, float[1,3] w> {
            x = MatMul(v, item)
            part = MatMul(w, x)
            z = Concat<axis = 1>(user, part, user2)
            s = Mul(z, x)
            one = Constant<value_ints = [1]>()
            y = ReduceSum<keepdims = 0>(s, one)
        }""",
    )
    assert outcome.times == 1
    assert turns(outcome) == 2


def test_one_user_part_between_items() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2] item, float[B,3] user, float[B,1] item2) => (float[B,2] y) <float[6,2] w> {
            x = Concat<axis = 1>(item, user, item2)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert turns(outcome) == 2


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceL1", "ReduceSumSquare"])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions(op: str, keep: int) -> None:
    outcome = apply(
        RULE,
        f"""score ({MIXED}) => (float[{"B,1" if keep else "B"}] y) {{
            x = Concat<axis = 1>(user, item, user2, item2)
            y = {op}<axes = [1], keepdims = {keep}>(x)
        }}""",
        opset=11,
    )
    assert outcome.times == 1
    assert turns(outcome) == 2


def test_normalisation_keeps_its_scales() -> None:
    outcome = mixed(
        "z = BatchNormalization(x, a, b, c, d) y = MatMul(z, w)",
        "float[8] a, float[8] b, float[8] c, float[8,3] w, float[8] d = {1, 1, 1, 1, 1, 1, 1, 1}",
    )
    assert outcome.times == 1


@OPSETS
def test_shared_table(opset: int) -> None:
    """Ids of all fields, offsets, one lookup, fields side by side: the rows of the weight move in blocks."""
    squeeze = "[1]" if opset < 13 else None
    total = f"s = ReduceSum<axes = {squeeze}, keepdims = 0>(e)" if squeeze else "s = ReduceSum<keepdims = 0>(e, axes)"
    axes = "" if squeeze else ", int64[1] axes = {1}"
    outcome = apply(
        RULE,
        f"""score (int64[B,1] user, int64[B,1] item, int64[B,2] user2, int64[B,1] item2)
        => (float[B,3] y, float[B,2] s)
        <float[40,2] table, int64[5] offsets = {{0, 4, 8, 12, 16}}, int64[2] flat = {{-1, 10}}, float[10,3] w{axes}> {{
            ids = Concat<axis = 1>(user, item, user2, item2)
            rows = Add(ids, offsets)
            e = Gather(table, rows)
            {total}
            x = Reshape(e, flat)
            y = MatMul(x, w)
        }}""",
        opset=opset,
    )
    assert outcome.times == 1
    assert turns(outcome) == 2


def test_attention_over_sorted_tokens() -> None:
    """Scores are sorted in both their axes; the product with the values sums the order away."""
    outcome = apply(
        RULE,
        """score (float[B,1,2] user, float[B,1,2] item, float[B,2,2] user2, float[B,1,2] item2) => (float[B,2] y)
        <float[2,2] q, float[2,2] k, int64[1] axes = {1}> {
            x = Concat<axis = 1>(user, item, user2, item2)
            a = MatMul(x, q)
            b = MatMul(x, k)
            t = Transpose<perm = [0, 2, 1]>(b)
            scores = MatMul(a, t)
            z = MatMul(scores, x)
            y = ReduceSum<keepdims = 0>(z, axes)
        }""",
    )
    assert outcome.times == 1
    assert turns(outcome) == 2


def test_weights_on_the_left() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,1] user, float[B,1,1] item, float[B,3,1] user2, float[B,2,1] item2) => (float[B,3,1] y)
        <float[8,8] v, float[8,1] b, float[3,8] w> {
            x = Concat<axis = 1>(user, item, user2, item2)
            p = MatMul(v, x)
            q = Add(p, b)
            r = Mul(q, x)
            y = MatMul(w, r)
        }""",
    )
    assert outcome.times == 1


def test_a_gate_that_is_computed_once() -> None:
    outcome = mixed("h = MatMul(user2, v) g = Relu(h) z = Mul(x, g) y = MatMul(z, w)", "float[3,8] v, float[8,3] w")
    assert outcome.times == 1
    assert turns(outcome) == 2


def test_einsum() -> None:
    outcome = mixed('y = Einsum<equation = "bd,de->be">(x, w)', "float[8,3] w")
    assert outcome.times == 1


def test_another_concat_with_the_same_parts() -> None:
    outcome = mixed("c = Concat<axis = 1>(user, item, user2, item2) z = Mul(x, c) y = MatMul(z, w)", "float[8,3] w")
    assert outcome.times >= 1
    assert turns(outcome) == 2


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("keep", [0, 1])
def test_not_where_the_first_entry_counts(op: str, keep: int) -> None:
    """ONNX Runtime drops a NaN that does not come first."""
    nodes = f"y = {op}<axes = [1], keepdims = {keep}>(x)"
    assert mixed(nodes, "float[1] unused", "B,1" if keep else "B", opset=11).times == 0


def test_not_where_the_sides_are_sorted_already() -> None:
    text = """score (float[B,2] user, float[B,1] user2, float[B,3] item, float[B,1] item2) => (float[B,2] y)
    <float[7,2] w> {
        x = Concat<axis = 1>(user, user2, item, item2)
        y = MatMul(x, w)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(
    ("nodes", "weights", "result"),
    [
        ("y = Relu(x)", "float[1] w", "B,8"),
        ("z = Relu(x) y = Identity(z)", "float[1] w", "B,8"),
        ("y = Mul(x, given)", "float[1] w", "B,8"),
        ("z = Mul(x, given) y = MatMul(z, w)", "float[8,3] w", "B,3"),
        (
            "z = Slice(x, a, b, c) y = MatMul(z, w)",
            "float[3,3] w, int64[1] a={1}, int64[1] b={4}, int64[1] c={1}",
            "B,3",
        ),
        ("z = CumSum(x, one) y = MatMul(z, w)", "float[8,3] w, int64 one = {1}", "B,3"),
        ("z = ArgMax<axis = 1>(x) f = Cast<to = 1>(z) y = Add(f, w)", "float[1] w", "B,1"),
        ("z = Reshape(x, s) y = MatMul(z, w)", "float[4,3] w, int64[3] s = {-1, 2, 4}", "B,2,3"),
        ("z = MatMul(x, w) t = Relu(x) y = Sub(z, t)", "float[8,8] w", "B,8"),
    ],
)
def test_not_where_the_order_matters(nodes: str, weights: str, result: str) -> None:
    outcome = mixed(nodes, weights, result, inputs=", float[1,8] given")
    assert outcome.times == 0
    assert any("order of its parts matters" in reason for reason in outcome.reasons)


def test_not_into_a_subgraph() -> None:
    text = f"""score ({MIXED}, bool given) => (float[B,3] y) <float[8,3] w> {{
        x = Concat<axis = 1>(user, item, user2, item2)
        z = If (given) <
            then_branch = left () => (float[B,8] a) {{ a = Relu(x) }},
            else_branch = right () => (float[B,8] b) {{ b = Neg(x) }}
        >
        y = MatMul(z, w)
    }}"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------

STEPS = {
    "relu": ("{y} = Relu({x})", {}),
    "scaled": ("{y} = Mul({x}, s{n})", {"s{n}": (0,)}),
    "shifted": ("{y} = Add(t{n}, {x})", {"t{n}": (1, 0)}),
    "crossed": ("c{n} = MatMul({x}, v{n}) {y} = Mul(c{n}, x)", {"v{n}": (0, 0)}),
    "residual": ("{y} = Add({x}, x)", {}),
    "turned": ("l{n} = Transpose<perm = [1, 0]>({x}) r{n} = Neg(l{n}) {y} = Transpose<perm = [1, 0]>(r{n})", {}),
}


@given(
    parts=st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=4),
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    seed=st.integers(0, 3),
)
def test_any_chain(parts: list[tuple[bool, int]], steps: list[str], seed: int) -> None:
    """Whatever is between a Concat and the product that sums it up, the result is the same to the last bit."""
    named = [("user0", 1), *((f"{'user' if u else 'item'}{k}", w) for k, (u, w) in enumerate(parts, 1)), ("item9", 2)]
    total = sum(width for _, width in named)
    random = np.random.default_rng(seed)
    weights, lines, value = {}, [], "x"
    for n, step in enumerate(steps):
        text, given_weights = STEPS[step]
        lines.append(text.format(x=value, y=f"z{n}", n=n))
        for name, shape in given_weights.items():
            sizes = tuple(total if axis == 0 else 1 for axis in shape)
            weights[name.format(n=n)] = random.integers(-1, 2, sizes).astype(np.float32)
        value = f"z{n}"
    declared = [f"float[{','.join(map(str, w.shape))}] {name}" for name, w in weights.items()]
    apply(
        RULE,
        f"""score ({", ".join(f"{typed('float', ['B', width])} {name}" for name, width in named)}) => (float[B,2] y)
        <{", ".join([*declared, f"float[{total},2] w"])}> {{
            x = Concat<axis = 1>({", ".join(name for name, _ in named)})
            {" ".join(lines)}
            y = MatMul({value}, w)
        }}""",
        exact=steps.count("crossed") < 3,
        **weights,
    )


def test_two_lists_of_which_one_becomes_the_other() -> None:
    """``[u, i, u]`` and ``[u, u, i]`` in the order 0, 2, 1: the one is then what the other was, but is not to be it."""
    rules = [rule_named(name) for name in ("pick", "concat-nested", RULE)]
    outcome = apply(
        rules,
        """score (float[B,1,2] user, float[B,1,2] item) => (float[B,2] y) <float[1,3,2] w, float[6,2] v> {
            x = Concat<axis = 1>(user, item)
            l = Gather<axis = 1>(x, left)
            r = Gather<axis = 1>(x, right)
            a = Mul(l, w)
            p = Add(a, r)
            f = Flatten(p)
            y = MatMul(f, v)
        }""",
        opset=13,
        left=np.array([0, 1, 0]),
        right=np.array([0, 0, 1]),
    )
    assert any(a.rule == RULE for a in outcome.applied)
