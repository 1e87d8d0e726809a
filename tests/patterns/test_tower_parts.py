"""f(rows of [u, i]) = [f(rows of u), f(rows of i)]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.patterns._row_alone import LAYERS
from tests.patterns.support import Outcome, apply, typed

RULE = "tower-parts"

F32 = np.float32
W = np.random.default_rng(0).integers(-2, 3, (6, 6)).astype(F32)


def tower(
    layers: str,
    rest: tuple[int, ...] = (6,),
    *,
    to: tuple[int, ...] | None = None,
    **settings: Any,
) -> Outcome:
    """The rule on layers that turn ``r [B*5, *rest]``, three of five rows the user's, into ``q [B*5, *to]``."""
    to = rest if to is None else to
    return apply(
        RULE,
        f"""score ({typed("float", ("B", 3, *rest))} user, {typed("float", ("B", 2, *rest))} item)
            => ({typed("float", ("B", 5, *to))} y) {{
            x = Concat<axis = 1>(user, item)
            flat = Constant<value_ints = [-1, {", ".join(map(str, rest))}]>()
            r = Reshape(x, flat)
            {layers}
            back = Constant<value_ints = [-1, 5{"".join(f", {d}" for d in to)}]>()
            y = Reshape(q, back)
        }}""",
        **settings,
    )


def rows_of(outcome: Outcome, op: str) -> set[object]:
    """How many rows an operator works on."""
    sizes = [outcome.size_of(node.output[0])[0] for node in outcome.of(op)]
    return {size if isinstance(size, int) else str(size) for size in sizes}


# -- fires -------------------------------------------------------------------------------------------------------------

INTS = "Constant<value_ints = {}>()"
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "Reshape": (f"s = {INTS.format([-1, 3, 2])}\n q = Reshape(r, s)", (6,), (3, 2)),
    "Expand": (f"s = {INTS.format([1, 6])}\n q = Expand(r, s)", (1,), (6,)),
    "Flatten": ("q = Flatten<axis = 1>(r)", (2, 3), (6,)),
    "Squeeze": (f"s = {INTS.format([1])}\n q = Squeeze(r, s)", (1, 6), (6,)),
    "Unsqueeze": (f"s = {INTS.format([1])}\n q = Unsqueeze(r, s)", (6,), (1, 6)),
    "Transpose": ("a = Transpose<perm = [1, 0]>(r)\n b = Relu(a)\n q = Transpose<perm = [1, 0]>(b)", (6,), (6,)),
    "Concat": ("q = Concat<axis = 1>(r, r)", (3,), (6,)),
    "Split": (f"s = {INTS.format([2, 4])}\n a, b = Split<axis = 1>(r, s)\n q = Concat<axis = 1>(b, a)", (6,), (6,)),
    "Slice": (
        f"s = {INTS.format([1])}\n e = {INTS.format([3])}\n q = Slice(r, s, e, s)",
        (6,),
        (2,),
    ),
    "Pad": (f"s = {INTS.format([0, 1, 0, 2])}\n q = Pad(r, s)", (3,), (6,)),
    "Gather": (f"s = {INTS.format([2, 0])}\n q = Gather<axis = 1>(r, s)", (6,), (2,)),
    "GatherElements": ("k = ArgMax<axis = 1>(r)\n q = GatherElements<axis = 1>(r, k)", (6,), (1,)),
    "OneHot": (
        "k = ArgMax<axis = 1, keepdims = 0>(r)\n six = Constant<value_int = 6>()\n"
        "z = Constant<value_floats = [0.0, 1.0]>()\n q = OneHot(k, six, z)",
        (6,),
        (6,),
    ),
    "MatMul": ("q = MatMul(r, w)", (6,), (6,)),
    "Gemm": ("q = Gemm<transB = 1>(r, w)", (6,), (6,)),
    "Einsum": ('q = Einsum<equation = "be,ef->bf">(r, w)', (6,), (6,)),
    "Conv": ("q = Conv(r, kernel)", (2, 5), (3, 4)),
    "AveragePool": ("q = AveragePool<kernel_shape = [2]>(r)", (2, 5), (2, 4)),
    "MaxPool": ("q = MaxPool<kernel_shape = [2]>(r)", (2, 5), (2, 4)),
    "GlobalAveragePool": ("q = GlobalAveragePool(r)", (2, 4), (2, 1)),
    "GlobalMaxPool": ("q = GlobalMaxPool(r)", (2, 4), (2, 1)),
    "RNN": ("t = Transpose<perm = [1, 0, 2]>(r)\n every, h = RNN<hidden_size = 4>(t, a, b)\n{last}", (3, 2), (4,)),
    "GRU": ("t = Transpose<perm = [1, 0, 2]>(r)\n every, h = GRU<hidden_size = 4>(t, a, b)\n{last}", (3, 2), (4,)),
    "LSTM": ("t = Transpose<perm = [1, 0, 2]>(r)\n every, h = LSTM<hidden_size = 4>(t, a, b)\n{last}", (3, 2), (4,)),
    "Softmax": ("q = Softmax<axis = -1>(r)", (6,), (6,)),
    "LogSoftmax": ("q = LogSoftmax<axis = 1>(r)", (6,), (6,)),
    "Hardmax": ("q = Hardmax<axis = -1>(r)", (6,), (6,)),
    "ArgMax": ("k = ArgMax<axis = 1>(r)\n q = Cast<to = 1>(k)", (6,), (1,)),
    "ArgMin": ("k = ArgMin<axis = 1>(r)\n q = Cast<to = 1>(k)", (6,), (1,)),
    "CumSum": ("one = Constant<value_int = 1>()\n q = CumSum(r, one)", (6,), (6,)),
    "TopK": (f"s = {INTS.format([2])}\n q, k = TopK<axis = 1>(r, s)", (6,), (2,)),
    "Trilu": ("q = Trilu<upper = 0>(r)", (3, 3), (3, 3)),
    "LayerNormalization": ("q = LayerNormalization(r, v)", (6,), (6,)),
    "RMSNormalization": ("q = RMSNormalization(r, v)", (6,), (6,)),
    "BatchNormalization": ("q = BatchNormalization(r, v, v, v, v)", (6,), (6,)),
    "InstanceNormalization": ("q = InstanceNormalization(r, v, v)", (6, 3), (6, 3)),
    "LpNormalization": ("q = LpNormalization<axis = 1>(r)", (6,), (6,)),
}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LAST = f"z = {INTS.format([0])}\n q = Squeeze(h, z)"


def test_every_layer_is_tried() -> None:
    assert CASES.keys() == LAYERS - {*UNARY, *BROADCASTING, *REDUCTIONS}


@pytest.mark.parametrize("op", CASES)
def test_layers(op: str) -> None:
    layers, rest, to = CASES[op]
    weights: dict[str, np.ndarray] = {"w": W, "v": np.arange(1, 7).astype(F32), "kernel": W[:3, :4].reshape(3, 2, 2)}
    if op in GATES:
        random = np.random.default_rng(2)
        weights["a"] = random.normal(size=(1, 4 * GATES[op], 2)).astype(F32)
        weights["b"] = random.normal(size=(1, 4 * GATES[op], 4)).astype(F32)
    opset = 23 if op == "RMSNormalization" else 18
    used = {name: array for name, array in weights.items() if f" {name}" in layers}
    outcome = tower(layers.format(last=LAST), rest, to=to, opset=opset, exact=False, **used)
    assert outcome.times == 1
    assert any(node.op_type == op and "mari" not in node.output[0] for node in outcome.original.graph.node)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op: str) -> None:
    layers = f"s = {INTS.format([1])}\n p = Exp(r)\n q = {op}(p, s)"
    outcome = tower(layers, (6,), to=(1,), opset=18, exact=False)
    assert outcome.times == 1
    assert rows_of(outcome, op) == {3, "2*B"}


@pytest.mark.parametrize("layers", ["q = Relu(r)", "q = Add(r, v)", "q = Mul(r, r)", "q = Max(r, s)"])
def test_entry_by_entry(layers: str) -> None:
    used = {n: a for n, a in {"v": W[0], "s": F32(1)}.items() if f" {n})" in layers}
    outcome = tower(layers, **used)
    assert outcome.times == 1
    assert rows_of(outcome, layers.split()[2].partition("(")[0]) == {3, "2*B"}


def test_the_users_tokens_run_once() -> None:
    outcome = tower("h = MatMul(r, w)\n q = Tanh(h)", w=W, exact=False)
    assert outcome.times == 1
    assert rows_of(outcome, "MatMul") == {3, "2*B"}
    assert rows_of(outcome, "Tanh") == {3, "2*B"}


def test_attention_with_heads_of_several_rows_each() -> None:
    """Rows are a part of an axis on the way, and not always of the first."""
    outcome = tower(
        """t = Transpose<perm = [1, 0, 2]>(r)
        cut = Constant<value_ints = [4, -1, 3]>()
        h = Reshape(t, cut)
        a = Transpose<perm = [1, 0, 2]>(h)
        b = Transpose<perm = [1, 2, 0]>(h)
        s = MatMul(a, b)
        p = Softmax<axis = -1>(s)
        m = MatMul(p, a)
        o = Transpose<perm = [1, 0, 2]>(m)
        all = Constant<value_ints = [-1, 6]>()
        f = Reshape(o, all)
        g = MatMul(f, w)
        again = Constant<value_ints = [4, -1, 6]>()
        c = Reshape(g, again)
        q = Transpose<perm = [1, 0, 2]>(c)""",
        (4, 6),
        w=W,
        exact=False,
    )
    assert outcome.times == 1
    assert {outcome.size_of(n.output[0])[0] for n in outcome.of("Softmax")} >= {6}


def test_what_was_repeated_for_every_row() -> None:
    """A state of the tower, given once or for each token of the user's request, is cut as the tokens are."""
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item, float[B,5,2] user_positions) => (float[B,5,2] y) {
            x = Concat<axis = 1>(item, user)
            flat = Constant<value_ints = [-1, 2]>()
            r = Reshape(x, flat)
            p = Reshape(user_positions, flat)
            q = Add(r, p)
            back = Constant<value_ints = [-1, 5, 2]>()
            y = Reshape(q, back)
        }""",
    )
    assert outcome.times == 1
    assert rows_of(outcome, "Add") == {3, "2*B"}


def test_several_features_of_the_same_tokens() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item, float[B,5] item_mask) => (float[B,5,2] y) {
            x = Concat<axis = 1>(user, item)
            flat = Constant<value_ints = [-1, 2]>()
            r = Reshape(x, flat)
            one = Constant<value_ints = [-1, 1]>()
            m = Reshape(item_mask, one)
            q = Mul(r, m)
            back = Constant<value_ints = [-1, 5, 2]>()
            y = Reshape(q, back)
        }""",
    )
    assert outcome.times == 1


def test_tokens_that_are_merged_in_pairs() -> None:
    """Rows of two tokens each: the sides change between them."""
    layers = f"s = {INTS.format([-1, 6])}\n p = Reshape(r, s)\n q = Softmax<axis = -1>(p)"
    text = f"""score (float[B,2,3] user, float[B,4,3] item) => (float[B,3,6] y) {{
        x = Concat<axis = 1>(user, item)
        flat = {INTS.format([-1, 3])}
        r = Reshape(x, flat)
        {layers}
        back = {INTS.format([-1, 3, 6])}
        y = Reshape(q, back)
    }}"""
    outcome = apply(RULE, text, exact=False)
    assert outcome.times == 1
    assert rows_of(outcome, "Softmax") == {1, "2*B"}


def test_tokens_that_come_back_as_columns() -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3,4] user, float[B,2,4] item) => (float[B,20] y) {{
            x = Concat<axis = 1>(user, item)
            flat = {INTS.format([-1, 4])}
            r = Reshape(x, flat)
            q = Relu(r)
            back = {INTS.format([-1, 20])}
            y = Reshape(q, back)
        }}""",
    )
    assert outcome.times == 1


def test_outputs_and_inputs_that_are_left_out() -> None:
    random = np.random.default_rng(2)
    outcome = tower(
        f"""t = Transpose<perm = [1, 0, 2]>(r)
        "", h = GRU<hidden_size = 4>(t, a, b)
        {LAST.replace("q = ", "g = ")}
        q = Clip(g, "", top)""",
        (3, 2),
        to=(4,),
        a=random.normal(size=(1, 12, 2)).astype(F32),
        b=random.normal(size=(1, 12, 4)).astype(F32),
        top=F32(0.5),
        exact=False,
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [
        "q = Softmax<axis = 0>(r)",
        "zero = Constant<value_int = 0>()\n q = CumSum(r, zero)",
        "t = Transpose<perm = [1, 0]>(r)\n s = MatMul(r, t)\n q = MatMul(s, r)",
        f"s = {INTS.format([0])}\n m = ReduceMax(r, s)\n q = Sub(r, m)",
    ],
)
def test_rows_that_are_mixed(layers: str) -> None:
    assert tower(layers, opset=18, exact=False).times == 0


def test_pairs_of_tokens_of_both_sides() -> None:
    """Three tokens of the user and one of the item in rows of two: the second row is of both."""
    text = f"""score (float[B,3,3] user, float[B,1,3] item) => (float[B,2,6] y) {{
        x = Concat<axis = 1>(user, item)
        flat = {INTS.format([-1, 6])}
        r = Reshape(x, flat)
        q = Softmax<axis = -1>(r)
        back = {INTS.format([-1, 2, 6])}
        y = Reshape(q, back)
    }}"""
    assert apply(RULE, text, exact=False).times == 0


def test_tokens_of_one_side() -> None:
    text = f"""score (float[B,2,3] item, float[B,1,3] item_more) => (float[B,3,3] y) {{
        x = Concat<axis = 1>(item, item_more)
        flat = {INTS.format([-1, 3])}
        r = Reshape(x, flat)
        q = Relu(r)
        back = {INTS.format([-1, 3, 3])}
        y = Reshape(q, back)
    }}"""
    assert apply(RULE, text).times == 0
