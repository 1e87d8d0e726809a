"""User-side work at batch 1, and an Expand wherever something else needs the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mari_onnx import analyze
from mari_onnx.analysis import Side
from tests.patterns.support import BATCHES, Outcome, apply, sides_of


def hoisted(text: str, **settings: Any) -> Outcome:
    """The hoist by itself, judged."""
    return apply([], text, **settings)


def rows_of(outcome: Outcome, op: str) -> list[bool]:
    """For each node of an operator, whether it runs for every candidate."""
    batch = outcome.size_of(next(v.name for v in outcome.original.graph.input if v.name.startswith("item")))
    assert batch is not None
    return [batch[0] in (outcome.size_of(node.output[0]) or ()) for node in outcome.of(op)]


def input_shapes(outcome: Outcome) -> dict[str, list[object]]:
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in outcome.result.graph.input
    }


def test_user_layers_run_once() -> None:
    outcome = hoisted("""score (float[B,3] user, float[B,4] item) => (float[B,4] y) <float[3,4] w> {
        h = MatMul(user, w)
        r = Relu(h)
        y = Add(r, item)
    }""")
    assert input_shapes(outcome) == {"user": [1, 3], "item": ["B", 4]}
    assert outcome.ops["Expand"] == 1
    assert rows_of(outcome, "MatMul") == [False]
    assert rows_of(outcome, "Relu") == [False]


def test_names_order_and_types_of_inputs_and_outputs_stay() -> None:
    outcome = hoisted("""score (float[B,3] item, int64[B,2] user_b, double[B,1] user_a)
    => (float[B,3] y, int64[B,2] z) {
        y = Neg(item)
        z = Abs(user_b)
    }""")
    for part in ("input", "output"):
        before, after = (getattr(m.graph, part) for m in (outcome.original, outcome.result))
        assert [v.name for v in before] == [v.name for v in after]
        assert [v.type.tensor_type.elem_type for v in before] == [v.type.tensor_type.elem_type for v in after]
    assert list(outcome.result.graph.output) == list(outcome.original.graph.output)


def test_a_user_side_output_has_all_its_rows() -> None:
    outcome = hoisted("""score (float[B,3] user, float[B,3] item) => (float[B,3] h, float[B,3] y) {
        h = Relu(user)
        y = Neg(item)
    }""")
    assert outcome.ops["Expand"] == 1
    assert rows_of(outcome, "Relu") == [False]


def test_a_user_input_that_is_an_output_keeps_its_rows() -> None:
    outcome = hoisted("""score (float[B,3] user, float[B,3] item) => (float[B,3] user, float[B,3] y) {
        h = Relu(user)
        y = Add(h, item)
    }""")
    assert input_shapes(outcome)["user"] == ["B", 3]
    assert rows_of(outcome, "Relu") == [False]


def test_two_readers_share_one_expand() -> None:
    outcome = hoisted("""score (float[B,3] user, float[B,3] item) => (float[B,3] y, float[B,3] z) {
        h = Relu(user)
        y = Add(h, item)
        z = Mul(h, item)
    }""")
    assert outcome.ops["Expand"] == 1


@pytest.mark.parametrize(
    "text",
    [
        # a reduction over the candidates
        """score (float[B,3] user, float[B,3] item) => (float[1,3] s, float[B,3] y) {
            s = ReduceSum(user, zero)
            y = Add(s, item)
        }""",
        # a cumulative sum over the candidates
        """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
            s = CumSum(user, axis)
            y = Add(s, item)
        }""",
        # candidates counted
        """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
            sizes = Shape(user)
            b = Gather(sizes, axis)
            f = Cast<to = 1>(b)
            y = Mul(f, item)
        }""",
        # softmax over the candidates
        """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
            s = Softmax<axis = 0>(user)
            y = Mul(s, item)
        }""",
        # one candidate picked
        """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
            first = Gather<axis = 0>(user, axis)
            y = Mul(first, item)
        }""",
        # user rows beside item rows
        """score (float[B,3] user, float[B,3] item) => (float[M,3] y) { y = Concat<axis = 0>(user, item) }""",
        # a sum over the candidates inside a product
        """score (float[B,3] user, float[B,3] item) => (float[3,3] y) {
            t = Transpose(user)
            y = MatMul(t, item)
        }""",
        # sorted
        """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
            sizes = Shape(user)
            size = Slice(sizes, zero, one)
            v, i = TopK<axis = 0>(user, size)
            y = Add(v, item)
        }""",
    ],
)
def test_what_works_along_the_candidates_sees_all_of_them(text: str) -> None:
    declared = {"zero": np.array([0]), "one": np.array([1]), "axis": np.array(0)}
    used = {name: array for name, array in declared.items() if f"{name})" in text or f"{name}," in text}
    hoisted(text, exact="Softmax" not in text, **used)


def test_what_is_made_of_constants_for_every_candidate_is_a_constant() -> None:
    """Masks are made of positions that were repeated as often as there are candidates."""
    outcome = hoisted("""score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
        whole = Shape(item)
        steps = Constant<value_floats = [1.0, 2.0, 3.0]>()
        rows = Expand(steps, whole)
        last = Constant<value_int = 1>()
        sums = CumSum(rows, last)
        both = Add(item, user)
        y = Mul(both, sums)
    }""")
    assert not outcome.of("CumSum")
    assert [6.0] in [onnx.numpy_helper.to_array(t).ravel()[-1:].tolist() for t in outcome.result.graph.initializer]


def test_a_list_as_long_as_a_number_that_nobody_follows() -> None:
    """Its numbers are constant, but the sizes of what reads it were found without them."""
    outcome = hoisted("""score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
        whole = Shape(item)
        steps = Constant<value_ints = [1, 4, 2]>()
        rows = Expand(steps, whole)
        most = ReduceMax<keepdims = 0>(rows)
        zero = Constant<value_int = 0>()
        one = Constant<value_int = 1>()
        list = Range(zero, most, one)
        numbers = Cast<to = 1>(list)
        total = ReduceSum<keepdims = 0>(numbers)
        both = Add(item, user)
        y = Mul(both, total)
    }""")
    assert outcome.ops["Mul"] == 1


def test_values_that_only_a_subgraph_reads() -> None:
    hoisted("""score (bool given, float[B,3] user, float[B,3] item) => (float[B,3] y) {
        h = Relu(user)
        y = If(given) <
            then_branch = t () => (float[B,3] p) { p = Add(h, item) },
            else_branch = e () => (float[B,3] q) { q = Mul(user, item) }
        >
    }""")


def test_a_tensor_used_as_data_and_as_a_size() -> None:
    outcome = hoisted("""score (float[B,3] user, float[1,3] given, float[B,3] item) => (float[B,3] y) {
        sizes = Shape(user)
        wide = Expand(given, sizes)
        h = Add(user, wide)
        y = Mul(h, item)
    }""")
    assert rows_of(outcome, "Add") == [False]


@pytest.mark.parametrize(
    ("user", "item", "nodes", "result"),
    [
        ("T,B,3", "T,B,3", "h = Relu(user) y = Add(h, item)", "T,B,3"),
        ("3,B", "3,B", "h = Relu(user) y = Add(h, item)", "3,B"),
        ("B,2,3", "B,6", "h = Flatten(user) y = Add(h, item)", "B,6"),
        ("B,2,3", "B,2,3", "h = Reshape(user, rows) i = Reshape(item, rows) y = Add(h, i)", "M,3"),
        ("2,B,3", "2,B,3", "h = Reshape(user, rows) i = Reshape(item, rows) y = Add(h, i)", "M,3"),
        (
            "B,2,3",
            "B,2,3",
            "a = Transpose<perm = [1, 0, 2]>(user) h = Reshape(a, rows) y = Neg(h) z = Abs(item)",
            "M,3",
        ),
    ],
)
def test_candidates_on_any_axis(user: str, item: str, nodes: str, result: str) -> None:
    weights = {"rows": np.array([-1, 3])} if "rows" in nodes else {}
    more = f", float[{item}] z" if "z =" in nodes else ""
    outcome = hoisted(
        f"score (float[{user}] user, float[{item}] item) => (float[{result}] y{more}) {{ {nodes} }}",
        batches=(0, *BATCHES),
        **weights,
    )
    axis = user.split(",").index("B")
    assert input_shapes(outcome)["user"][axis] == 1


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_number_of_candidates(batch: int) -> None:
    outcome = hoisted(f"""score (float[{batch},4] user, float[{batch},4] item) => (float[{batch},4] y) {{
        h = Relu(user)
        y = Add(h, item)
    }}""")
    assert outcome.inputs.batch == batch
    assert rows_of(outcome, "Relu") != [True]


def test_sizes_read_off_a_fixed_number_of_candidates() -> None:
    """A simplifier that is given the number leaves some of the ladders behind."""
    outcome = hoisted(
        """score (float[4,6,1,2] user, float[4,12] item) => (float[4,12] y) {
            sizes = Shape(user)
            front = Slice(sizes, begin, end)
            target = Concat<axis=0>(front, rest)
            folded = Reshape(user, target)
            h = Exp(folded)
            flat = Flatten(h)
            y = Add(flat, item)
        }""",
        begin=np.array([0]),
        end=np.array([2]),
        rest=np.array([-1]),
    )
    assert rows_of(outcome, "Exp") == [False]
    assert analyze(outcome.original, ["user"]).side("h") is Side.USER


def test_a_constant_with_an_entry_for_each_candidate() -> None:
    """With a fixed number of candidates a weight may differ between them: the sum is not the user's any more."""
    outcome = hoisted("""score (float[4,4] user, float[4,4] item) => (float[4,4] y) <float[4,1] w> {
        h = Add(user, w)
        y = Mul(h, item)
    }""")
    assert len(outcome.of("Add")) == 1


def test_random_numbers_are_drawn_for_each_candidate() -> None:
    model_text = """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
        noise = RandomNormalLike(user)
        zero = Sub(noise, noise)
        y = Add(zero, item)
    }"""
    outcome = hoisted(model_text)
    assert rows_of(outcome, "RandomNormalLike") == [True]


def test_nothing_is_hoisted_without_user_inputs() -> None:
    outcome = hoisted("score (float[B,3] item) => (float[B,3] y) { y = Relu(item) }")
    assert outcome.ops == {"Relu": 1}


def test_sides() -> None:
    outcome = hoisted(
        "score (float[B,3] user, float[B,3] item, float[3] given) => (float[B,3] y) "
        "{ a = Add(user, given) y = Add(a, item) }"
    )
    assert outcome.inputs == sides_of(outcome.original)
    assert rows_of(outcome, "Add") == [False, True]
