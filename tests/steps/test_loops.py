"""Loops whose steps have nothing to do with one another run for all steps at once; others stay."""

from __future__ import annotations

import onnx
import pytest

import mari_onnx
from mari_onnx.analysis import Side
from mari_onnx.ir import Node
from tests.analysis.support import assert_right
from tests.steps.support import BAG, STEP, assert_at_once, assert_stays, model_of, operators


def bag(reduce: str, step: str = STEP, going: str = "c2 = Identity(yes)") -> str:
    """The loop of TorchScript: so many steps, the results of which are collected."""
    return f"""bag = Loop<body = b (int64 k, bool c) => (bool c2, float[4] r) {{
        {step} {reduce} {going} }}>(bags, yes)"""


SUM = "r = ReduceSum<keepdims = 0>(found, first)"
MEAN = "r = ReduceMean<keepdims = 0>(found, first)"
MAX = "r = ReduceMax<keepdims = 0>(found, first)"

LISTED = """
    shape = Shape(ids) total = ReduceProd<keepdims = 0>(shape)
    starts = Range(zero, total, five) list = Reshape(ids, flat) length = Shape(list) bags = Size(starts)
    rows = Gather<axis = 0>(table, list) bounds = Concat<axis = 0>(starts, length)
    empty = SequenceEmpty() go = Less(zero, bags)
"""


def listed(row: str, join: str = "bag = ConcatFromSequence<axis = 0>(all)", going: str = "Less") -> str:
    """The loop of torch.export: it goes on while a counter is below a number, and carries a list."""
    return f"""all, last = Loop<body = b (int64 k, bool c, seq(float[1,4]) some, int64 n) =>
        (bool c2, seq(float[1,4]) more, int64 n2) {{
        at = Reshape(n, flat) typed = CastLike(second, at) next = Add(at, typed)
        s = Slice(bounds, at, next) after = Add(next, second) e = Slice(bounds, next, after)
        empty_bag = Equal(s, e)
        r = If<then_branch = none () => (z) {{ z = Constant<value = float[1,4] {{0, 0, 0, 0}}>() }},
               else_branch = some_ids () => (w) {{ own = Slice(rows, s, e) {row} }}>(empty_bag)
        more = SequenceInsert(some, r) n2 = Add(n, one) c2 = {going}(n2, bags)
    }}>(, go, empty, zero) {join}"""


LISTED_SUM = "w = ReduceSum(own, first)"


@pytest.mark.parametrize("reduce", [SUM, MEAN, MAX])
def test_a_bag_of_torchscript(reduce: str) -> None:
    assert_at_once(model_of(bag(reduce)))


def test_a_bag_whose_ids_have_weights() -> None:
    step = f"""{STEP} share = Slice(weights, s1, e1, first) column = Unsqueeze(share, second)
        weighed = Mul(found, column)"""
    before = f"{BAG} real = Cast<to = 1>(ids) weights = Reshape(real, flat)"
    assert_at_once(model_of(bag("r = ReduceSum<keepdims = 0>(weighed, first)", step), before))


def test_the_users_bag_runs_for_one_row() -> None:
    proven = mari_onnx.analyze(model_of(bag(SUM)), ["u"])
    sums = [n.output for n in proven.network if isinstance(n, Node) and n.op == "ReduceSum"]
    assert [proven.side(v) for v in sums] == [Side.USER]


def test_the_items_bag_runs_for_all_rows() -> None:
    model = model_of(bag(SUM), ids="float[B,4] i", item="int64[B,5] u")
    model.graph.node[0].input[0] = "u"
    assert "Loop" not in operators(model, ("i",))
    assert_right(model, ("i",))


@pytest.mark.parametrize("row", [LISTED_SUM, "w = ReduceMax(own, first)"])
def test_a_bag_of_torch_export(row: str) -> None:
    assert_at_once(model_of(listed(row), LISTED))


def test_a_list_joined_along_a_new_axis() -> None:
    join = "stack = ConcatFromSequence<axis = 0, new_axis = 1>(all) bag = Squeeze(stack, second)"
    assert_at_once(model_of(listed(LISTED_SUM, join), LISTED))


def mean_of_export(divisor: str) -> str:
    """Exporters divide the last bag's sum by what is left of the list, and take the mean of others."""
    return f"""end = Sub(bags, one) is_last = Equal(n, end)
        w = If<then_branch = at_end () => (t) {{
                sum = ReduceSum(own, first) left = Sub({divisor}, s) real = Cast<to = 1>(left) t = Div(sum, real) }},
            else_branch = others () => (o) {{ o = ReduceMean(own, first) }}>(is_last)"""


def test_the_mean_of_torch_export() -> None:
    assert_at_once(model_of(listed(mean_of_export("length")), LISTED))


def test_something_else_at_the_last_step_stays() -> None:
    assert_stays(model_of(listed(mean_of_export("four")), f"{LISTED} four = Sub(length, second)"))


def test_an_entry_for_each_step() -> None:
    loop = """bag = Loop<body = b (int64 k, bool c) => (bool c2, float[4] r) {
        own = Gather<axis = 0>(real, k) t = Tanh(own) r = ReduceSum(t, first) c2 = Identity(yes) }>(bags, yes)"""
    wide = "float[B,5,4] u"
    before = "real = Identity(ids) shape = Shape(ids) bags = Gather(shape, zero)"
    assert_at_once(model_of(loop.replace("ReduceSum(t", "ReduceSum<keepdims = 0>(t"), before, wide))


def test_two_loops() -> None:
    sums, means = bag(SUM).replace("bag =", "sums ="), bag(MEAN).replace("bag =", "means =")
    assert_at_once(model_of(f"{sums} {means} bag = Add(sums, means)"))


@pytest.mark.parametrize(
    "loop",
    [
        bag(SUM, going="c2 = Less(k, bags)"),  # one step too many, were it not for the number told
        bag(SUM, going="next = Add(k, one) c2 = Less(next, five)"),  # five steps at most
        bag(SUM, STEP.replace("e1, first)", "e1, first, e1)")),  # every fifth of the ids, or fewer
        bag(SUM, STEP.replace("table, own", "table, ids")),  # all rows of the request at each step
        bag(SUM, STEP.replace("Slice(list, s1, e1", "Slice(list, s1, far")),  # all that is left of the list
        bag(SUM.replace("found", "noise"), STEP + "noise = RandomNormalLike(found)"),
    ],
)
def test_what_is_not_known_for_all_steps_stays(loop: str) -> None:
    assert "Loop" in operators(model_of(loop))


def test_a_sum_over_steps_stays() -> None:
    loop = f"""last, bag = Loop<body = b (int64 k, bool c, float[4] h) => (bool c2, float[4] h2, float[4] r) {{
        {STEP} {SUM} h2 = Add(h, r) c2 = Identity(yes) }}>(bags, yes, start)"""
    assert_stays(model_of(loop, f"{BAG} start = Constant<value_floats = [0.0, 0.0, 0.0, 0.0]>()"))


def test_a_counter_that_is_read_stays() -> None:
    loop = f"""last, rows = Loop<body = b (int64 k, bool c, int64 n) => (bool c2, int64 n2, float[4] r) {{
        {STEP} {SUM} n2 = Add(n, one) c2 = Identity(yes) }}>(bags, yes, zero)
        real = Cast<to = 1>(last) bag = Mul(rows, real)"""
    assert_stays(model_of(loop))


def test_bags_of_other_sizes_stay() -> None:
    """Bags of four in a list of rows of five: there are more bags than rows."""
    before = BAG.replace("width = ", "columns = ").replace("starts =", "width = Sub(columns, one) starts =")
    loop = bag(SUM).replace("bag =", "bags_found =")
    assert_stays(model_of(f"{loop} rows = Shape<end = 1>(i) bag = Slice(bags_found, first, rows)", before))


def test_a_list_that_is_read_otherwise_stays() -> None:
    join = "bag = ConcatFromSequence<axis = 0>(all) many = SequenceLength(all)"
    model = model_of(listed(LISTED_SUM, join), LISTED)
    model.graph.output.append(onnx.helper.make_tensor_value_info("many", onnx.TensorProto.INT64, []))
    assert "Loop" in operators(model)


def test_what_takes_the_loops_place_says_so() -> None:
    made = mari_onnx.analyze(model_of(bag(SUM)), ["u"]).network
    assert [n.rule for n in made if isinstance(n, Node) and n.op == "ReduceSum"] == ["loop"]
