"""f(x)[k] = f(x[k])."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.patterns._picking import OPERATORS
from tests.patterns import support
from tests.patterns.support import Outcome, apply, typed

RULE = "early-pick"

F32 = np.float32
INTS = "Constant<value_ints = {}>()"


def picked(
    layer: str,
    pick: str = "y = Gather<axis = 1>(q, k)",
    *,
    item: tuple[object, ...] = ("B", 5, 6),
    result: str = "float[B,N]",
    k: object = -1,
    **settings: Any,
) -> Outcome:
    """The rule on what is read of ``q``, which a layer makes of ``x`` or ``item``."""
    return apply(
        RULE,
        f"""score ({typed("float", item)} item) => ({result} y) {{
            x = Neg(item)
            {layer}
            {pick}
        }}""",
        **{"k": np.array(k)} if "k)" in pick else {},
        **settings,
    )


def entries(outcome: Outcome, op: str, axis: int = 1) -> list[int]:
    """How many entries there are in what each node of an operator makes."""
    return [outcome.size_of(node.output[0])[axis] for node in outcome.of(op)]


# -- fires -------------------------------------------------------------------------------------------------------------

W = np.arange(18, dtype=F32).reshape(6, 3) - 9
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "MatMul": ("q = MatMul(x, w)", {"w": W}),
    "Softmax": ("q = Softmax<axis = 2>(x)", {"exact": False}),
    "LogSoftmax": ("q = LogSoftmax<axis = -1>(x)", {"exact": False}),
    "LayerNormalization": ("q = LayerNormalization(x, s, s)", {"s": W[:, 0].copy(), "exact": False}),
    "RMSNormalization": ("q = RMSNormalization(x, s)", {"s": W[:, 0].copy(), "exact": False, "opset": 23}),
    "Transpose": ("a = Transpose<perm = [0, 2, 1]>(x) b = Exp(a) q = Transpose<perm = [0, 2, 1]>(b)", {"exact": False}),
    "Reshape": (f"s = {INTS.format([0, 5, 2, 3])} q = Reshape(x, s)", {"result": "float[B,2,3]"}),
    "Flatten": ("q = Flatten<axis = 2>(x)", {"item": ("B", 5, 2, 3), "pick": "y = Gather<axis = 1>(r, k)"}),
    "Unsqueeze": (f"s = {INTS.format([1])} q = Unsqueeze(x, s)", {"pick": "y = Gather<axis = 2>(q, k)"}),
    "Squeeze": (f"s = {INTS.format([1])} q = Squeeze(x, s)", {"item": ("B", 1, 5, 6)}),
    "Concat": ("q = Concat<axis = 2>(x, item)", {}),
    "Gemm": ("q = Gemm(x, w)", {"item": ("B", 6), "w": W, "result": "float[B]"}),
    "Einsum": ('q = Einsum<equation = "bts,std->btd">(x, w)', {"w": np.arange(60, dtype=F32).reshape(6, 5, 2) - 9}),
    "TopK": (f"n = {INTS.format([2])} q, places = TopK(x, n)", {"result": "float[B,N]"}),
    "Expand": (f"n = {INTS.format([2])} m = ReduceMax(x, n) s = Shape(x) q = Expand(m, s)", {"opset": 18}),
    "Slice": (f"s = {INTS.format([1])} e = {INTS.format([3])} a = {INTS.format([2])} q = Slice(x, s, e, a)", {}),
    "Split": (f"s = {INTS.format([2, 4])} q, rest = Split<axis = 2>(x, s)", {}),
    "Gather": ("i = Cast<to = 7>(item) a = Abs(i) q = Gather(w, a)", {"w": W, "result": "float[B,6,3]"}),
}


def test_every_operator_is_tried() -> None:
    others = {*UNARY, *BROADCASTING, *REDUCTIONS}
    assert CASES.keys() == OPERATORS - others


@pytest.mark.parametrize("op", CASES)
def test_operators(op: str) -> None:
    layer, settings = CASES[op]
    settings = {"result": "float[B,N,M]" if op in ("Unsqueeze",) else "float[B,N]", **settings}
    if op == "Flatten":
        # Its rows are those of the candidates as well: only what is behind them can be picked.
        layer, settings["pick"] = "q = Flatten<axis = 1>(x)", "y = Gather<axis = 1>(q, k)"
        settings.update(item=("B", 5), result="float[B]")
    assert picked(layer, **settings).times >= 1


@pytest.mark.parametrize("op", sorted(set(REDUCTIONS)))
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions(op: str, keep: int) -> None:
    layer = f"s = {INTS.format([2])} p = Exp(x) q = {op}<keepdims = {keep}>(p, s)"
    outcome = picked(layer, opset=18, exact=False, result=f"float[B{',N' * keep}]")
    assert outcome.times >= 1
    assert entries(outcome, op) == [1]


@pytest.mark.parametrize(
    ("equation", "item", "times"),
    [
        ("bij,jk->bki", ("B", 5, 6), 1),
        ("bij,bij->bij", ("B", 5, 6), 1),
        ("bii,ik->bki", ("B", 6, 6), 0),
        ("...ij,jk->...ik", ("B", 5, 6), 1),
        ("bij,bij->bij", ("B", 1, 6), 0),
    ],
)
def test_letters_that_an_einsum_keeps(equation: str, item: tuple[object, ...], times: int) -> None:
    operands = "x, x" if equation.count("bij") > 1 else "x, w"
    layer = f'q = Einsum<equation = "{equation}">({operands})'
    outcome = picked(layer, "y = Gather<axis = 1>(q, k)", item=item, result="float[B,N,M]", w=W, k=[0])
    assert bool(outcome.times) == bool(times)
    if times:
        assert entries(outcome, "Einsum") == [1]


def test_the_rows_of_attention_that_are_read() -> None:
    outcome = picked(
        """t = Transpose<perm = [0, 2, 1]>(x)
        s = MatMul(x, t)
        p = Softmax<axis = -1>(s)
        a = MatMul(p, item)
        q = Add(a, x)""",
        exact=False,
    )
    assert entries(outcome, "MatMul") == [1, 1]
    assert entries(outcome, "Softmax") == [1]
    assert entries(outcome, "Transpose") == [6]


@pytest.mark.parametrize(("axis", "count"), [(1, 5), (2, 1)])
def test_a_softmax_of_old(axis: int, count: int) -> None:
    """Before opset 13 it goes along all axes from its own on."""
    outcome = picked(f"q = Softmax<axis = {axis}>(x)", opset=11, exact=False)
    assert entries(outcome, "Softmax") == [count]


def test_a_batch_of_products() -> None:
    outcome = picked("q = MatMul(x, w)", item=("B", 5, 4, 6), w=W, result="float[B,4,3]")
    assert outcome.times >= 1
    assert entries(outcome, "MatMul") == [1]


def test_places_of_the_largest() -> None:
    layer = f"n = {INTS.format([2])} largest, places = TopK<axis = -1>(x, n) q = Cast<to = 1>(places)"
    outcome = picked(layer)
    assert outcome.times >= 1
    assert outcome.size_of(outcome.of("TopK")[0].output[1])[1:] == (1, 2)


@pytest.mark.parametrize("k", [[2], [4, 0]])
@pytest.mark.parametrize("axis", [1, 2])
def test_what_is_repeated(k: list[int], axis: int) -> None:
    """Entries of the axis that it is repeated along are as many copies; those of another are picked before."""
    layer = f"n = {INTS.format([axis])} m = ReduceMax(x, n) s = Shape(x) q = Expand(m, s)"
    outcome = picked(layer, k=k, opset=18, result="float[B,N,6]")
    assert all(count == len(k) for count in entries(outcome, "Expand"))
    assert entries(outcome, "ReduceMax") == [len(k) if axis == 2 else 1]


def test_a_size_of_one_that_is_left() -> None:
    """Nothing is repeated any more."""
    layer = f"n = {INTS.format([1])} m = ReduceMax(x, n) s = Shape(x) q = Expand(m, s)"
    assert "Expand" not in picked(layer, opset=18, k=[3], result="float[B,1,6]").ops


def test_rows_of_unit_length() -> None:
    """As PyTorch writes them: each is divided by its own length, which is repeated."""
    layer = "l = ReduceL2<axes = [-1]>(x) s = Shape(x) r = Expand(l, s) q = Div(x, r)"
    outcome = picked(layer, opset=17, exact=False)
    assert entries(outcome, "ReduceL2") == [1]
    assert entries(outcome, "Div") == [1]


def test_two_cuts_in_a_row_of_which_the_first_axis_goes_in_front() -> None:
    layer = f"s = {INTS.format([1])} e = {INTS.format([3])} a = {INTS.format([2])} q = Slice(x, s, e, a)"
    outcome = picked(
        layer,
        f"s1 = {INTS.format([4])} e1 = {INTS.format([5])} a1 = {INTS.format([1])} y = Slice(q, s1, e1, a1)",
        result="float[B,N,M]",
    )
    assert entries(outcome, "Neg") == [1]
    back = f"s = {INTS.format([1])} e = {INTS.format([3])} a = {INTS.format([1])} q = Slice(x, s, e, a)"
    outcome = picked(
        back,
        f"s1 = {INTS.format([4])} e1 = {INTS.format([5])} a1 = {INTS.format([2])} y = Slice(q, s1, e1, a1)",
        result="float[B,N,M]",
    )
    assert outcome.size_of(outcome.of("Neg")[0].output[0])[1:] == (2, 1)


def test_weights_of_each_token() -> None:
    weight = np.arange(30, dtype=F32).reshape(5, 6)
    outcome = picked("q = Mul(x, w)", w=weight)
    assert [tuple(t.dims) for t in outcome.result.graph.initializer if t.name.startswith("w/")] == [(1, 6)]


@pytest.mark.parametrize(
    ("pick", "count"),
    [
        ("y = Slice(q, s, e, a)", 2),
        ("y = Slice(q, s, e, a, t)", 1),
        ("y = Slice(q, s3, e3)", 2),
    ],
)
def test_slices(pick: str, count: int) -> None:
    bounds = {"s": [1], "e": [3], "a": [1], "t": [2], "s3": [0, 1, 0], "e3": [2**31 - 1, 3, 2**31 - 1]}
    used = {n: np.array(v) for n, v in bounds.items() if any(n == word.strip("(,)") for word in pick.split())}
    outcome = picked("q = Tanh(x)", pick, result="float[B,N,6]", exact=False, **used)
    assert outcome.times >= 1
    assert entries(outcome, "Tanh") == [count]


@pytest.mark.parametrize("k", [[0, 3], [4, 1, 1], [-1, -2]])
def test_scattered_entries(k: list[int]) -> None:
    outcome = picked("q = Tanh(x)", result="float[B,N,6]", k=k, exact=False)
    assert outcome.times >= 1
    assert entries(outcome, "Tanh") == [len(k)]


@pytest.mark.parametrize(
    ("pick", "count", "pieces"),
    [
        ("rest, y = Split<axis = 1>(q, s)", 2, 0),
        ("y, rest = Split<axis = -2>(q, s)", 3, 0),
        ("a, b, rest = Split<axis = 1>(q, t) y = Concat<axis = 1>(b, a)", 4, 2),
        ("a, rest, b = Split<axis = 1>(q, t) y = Concat<axis = 1>(b, a)", 2, 2),
        ("a, none, rest, b = Split<axis = 1>(q, n) y = Concat<axis = 1>(none, b)", 2, 2),
    ],
)
def test_outputs_of_a_split_that_are_read(pick: str, count: int, pieces: int) -> None:
    sizes = {"s": [3, 2], "t": [1, 3, 1], "n": [1, 0, 2, 2]}
    used = {n: np.array(v) for n, v in sizes.items() if f"q, {n})" in pick}
    outcome = picked("q = Tanh(x)", pick, result="float[B,N,6]", exact=False, **used)
    assert outcome.times >= 1
    assert entries(outcome, "Tanh") == [count]
    assert [len(n.output) for n in outcome.of("Split")] == [pieces] * bool(pieces)


def test_a_split_that_has_its_sizes_as_an_attribute() -> None:
    pick = "a, rest, b = Split<axis = 1, split = [1, 3, 1]>(q) y = Sub(b, a)"
    outcome = picked("q = Tanh(x)", pick, result="float[B,1,6]", exact=False, opset=11)
    assert entries(outcome, "Tanh") == [2]
    assert [tuple(a.ints) for a in outcome.of("Split")[0].attribute if a.name == "split"] == [(1, 1)]


@pytest.mark.parametrize("attrs", ["", "<transB = 1>", "<alpha = 2.0, beta = 3.0>"])
@pytest.mark.parametrize("bias", [None, (3,), (1, 3), (1,), (1, 1), ()])
def test_columns_of_a_layer(attrs: str, bias: tuple[int, ...] | None) -> None:
    """Of the matrix that is constant, and of a bias that has them."""
    weights = {"w": np.ascontiguousarray(W.T) if "transB" in attrs else W}
    if bias is not None:
        weights["c"] = np.arange(np.prod(bias, dtype=int), dtype=F32).reshape(bias) - 1
    layer = f"q = Gemm{attrs}(x, {', '.join(weights)})"
    outcome = picked(layer, item=("B", 6), result="float[B,N]", k=[2, 0], **weights)
    assert entries(outcome, "Gemm") == [2]


def test_columns_of_a_product() -> None:
    outcome = picked("q = MatMul(x, w)", "y = Gather<axis = 2>(q, k)", result="float[B,5]", k=1, w=W)
    assert entries(outcome, "MatMul", 2) == [1]


def test_rows_of_a_layer_that_has_candidates_in_its_columns() -> None:
    text = """score (float[6,B] item) => (float[2,B] y) <float[6,5] w, float[5,1] c, int64[2] k> {
        q = Gemm<transA = 1>(w, item, c)
        y = Gather<axis = 0>(q, k)
    }"""
    outcome = apply(RULE, text, k=np.array([3, 1]))
    assert outcome.times == 1
    assert entries(outcome, "Gemm", 0) == [2]


def test_a_split_of_what_is_split() -> None:
    outcome = picked(
        "q, rest = Split<axis = 1>(x, s)",
        "others, y = Split<axis = 1>(q, t)",
        result="float[B,N,6]",
        s=np.array([3, 2]),
        t=np.array([2, 1]),
    )
    assert entries(outcome, "Neg") == [1]


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "layer", "count"),
    [
        ("Softmax", "q = Softmax<axis = 1>(x)", 5),
        ("Concat", "q = Concat<axis = 1>(x, item)", 10),
        ("CumSum", "one = Constant<value_int = 1>() q = CumSum(x, one)", 5),
        ("TopK", "n = Constant<value_ints = [2]>() q, places = TopK<axis = 1>(x, n)", 2),
    ],
)
def test_what_needs_the_other_entries(op: str, layer: str, count: int) -> None:
    assert entries(picked(layer, k=0, exact=False), op) == [count]


@pytest.mark.parametrize(
    ("op", "layer", "pick"),
    [
        ("Tanh", "q = Tanh(x)", "a, b = Split<axis = 1>(q, s) y = Concat<axis = 1>(b, a)"),
        ("Softmax", "q = Softmax<axis = 1>(x)", "rest, y = Split<axis = 1>(q, s)"),
        ("Split", "q, rest = Split<axis = 2>(x, u)", "part = Gather<axis = 1>(q, k) y = Add(part, rest)"),
    ],
)
def test_splits_that_need_all(op: str, layer: str, pick: str) -> None:
    """All that is read, entries that others look at, a cut along another axis of which more is read."""
    sizes = {"s": [3, 2], "u": [3, 3]}
    used = {n: np.array(v) for n, v in sizes.items() if f", {n})" in layer + pick}
    outcome = picked(layer, pick, result="float[B,N,M]", exact=False, k=[0], **used)
    assert outcome.times == 0, op


def test_a_split_of_candidates() -> None:
    text = """score (float[4,5] item) => (float[1,5] y) <int64[2] s> {
        q = Tanh(item)
        y, rest = Split<axis = 0>(q, s)
    }"""
    assert apply(RULE, text, s=np.array([1, 3]), exact=False).times == 0


@pytest.mark.parametrize(
    ("layer", "given"),
    [
        ("q = MatMul(x, item_w)", "float[B,5,6] item, float[B,6,3] item_w"),
        ("q = MatMul(x, other)", "float[B,5,6] item, float[6,3] other"),
        ("q = Gemm(x, other)", "float[B,6] item, float[6,3] other"),
    ],
)
def test_columns_of_a_matrix_that_is_not_constant(layer: str, given: str) -> None:
    text = f"""score ({given}) => (float[B,N] y) {{
        x = Neg(item)
        {layer}
        k = Constant<value_int = 1>()
        y = Gather<axis = -1>(q, k)
    }}"""
    assert apply(RULE, text.replace("float[B,N]", "float[B]" if "Gemm" in layer else "float[B,N]")).times == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_what_may_be_repeated(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """An open size may be 1 when the model runs: then there is one entry for all."""
    monkeypatch.setattr(support, "OTHER_SIZE", rows)
    outcome = apply(
        RULE,
        """score (float[B,3,6] item, float[B,S,6] item_other) => (float[B,2,6] y) <int64[2] k> {
            q = Add(item, item_other)
            y = Gather<axis = 1>(q, k)
        }""",
        k=np.array([2, 0]),
    )
    assert outcome.times == 0


def test_what_another_result_of_is_read() -> None:
    layer = f"n = {INTS.format([2])} q, places = TopK(x, n) other = Cast<to = 1>(places)"
    pick = "first = Gather<axis = 1>(q, k) rest = ReduceSum<keepdims = 0>(other) y = Mul(first, rest)"
    assert entries(picked(layer, pick), "TopK") == [5]


def test_what_is_read_by_others_as_well() -> None:
    assert (
        apply(
            RULE,
            """score (float[B,5,6] item) => (float[B,6] y, float[B,5,6] z) {
            q = Tanh(item)
            k = Constant<value_int = 0>()
            y = Gather<axis = 1>(q, k)
            z = Neg(q)
        }""",
            exact=False,
        ).times
        == 0
    )


def test_all_entries_in_another_order() -> None:
    assert picked("q = Tanh(x)", result="float[B,N,6]", k=[4, 3, 2, 1, 0], exact=False).times == 0


def test_some_of_the_candidates() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5] item) => (float[1,5] y) <int64[1] k> {
            q = Tanh(item)
            y = Gather<axis = 0>(q, k)
        }""",
        k=np.array([0]),
        exact=False,
    )
    assert outcome.times == 0
