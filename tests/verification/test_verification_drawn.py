"""Models that draw random numbers are compared with fixed ones in their place."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mari_onnx import VerificationError, optimize
from mari_onnx.verification import verify
from mari_onnx.verification.drawn import settled
from mari_onnx.verification.sessions import open_session
from mari_onnx.verification.source import open_source

USER = ["user"]
DRAWS = {
    "normal": "r = RandomNormalLike<dtype=1>(h)",
    "untyped": "r = RandomNormalLike<mean=3.0, scale=0.5>(h)",
    "uniform": "r = RandomUniformLike<dtype=1, low=-2.0, high=5.0>(h)",
    "once": "q = RandomUniform<shape=[4]>() r = Add(h, q)",
    "once normal": "q = RandomNormal<shape=[4], dtype=11>() p = Cast<to=1>(q) r = Add(h, p)",
    "chance": "c = Sigmoid(h) q = Bernoulli<dtype=9>(c) r = Cast<to=1>(q)",
    "inside": """n = Size(h) four = Constant<value_int=4>() yes = Less(four, n)
        r = If(yes) <then_branch = a () => (float[B,4] ra) { ra = RandomNormalLike<dtype=1>(h) },
                     else_branch = b () => (float[B,4] rb) { rb = Identity(h) }>""",
}


def drawing(make, draw: str) -> onnx.ModelProto:
    """A layer of user and item, and numbers of its shape that are drawn."""
    text = f"""g (float[B,3] user, float[B,2] item) => (float[B,4] score) {{
        x = Concat<axis=1>(user, item) h = MatMul(x, w) {draw} score = Add(h, r) }}"""
    return make(text, w=np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_model_that_draws_numbers_is_verified(make, draw):
    result = optimize(drawing(make, draw), user_inputs=USER)
    assert result.verification is not None
    assert result.verification.passed
    assert "split-product" in {a.rule for a in result.applied}
    assert [
        note for note in result.notes if note.startswith("the model draws random numbers (Random")
    ] or "Bern" in draw


def test_what_is_wrong_beside_it_is_found(make):
    model = drawing(make, DRAWS["normal"])
    other = drawing(make, DRAWS["normal"])
    other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((5, 4), np.float32), "w"))
    assert not verify(model, other, user_inputs=USER).passed


def test_numbers_of_another_range_are_found(make):
    model = drawing(make, DRAWS["uniform"])
    other = drawing(make, DRAWS["uniform"].replace("5.0", "5.5"))
    assert not verify(model, other, user_inputs=USER).passed


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        ("y = RandomUniformLike<dtype=1, low=-2.0, high=5.0>(x)", -2.0, 5.0),
        ("y = RandomNormalLike<mean=10.0, scale=2.0>(x)", 6.0, 14.0),
        ("y = RandomNormal<shape=[50, 40]>()", -2.0, 2.0),
    ],
)
def test_fixed_numbers_fill_the_range_evenly(make, draw, low, high):
    source = settled(open_source(make(f"g (float[B,40] x) => (float[B,40] y) {{ {draw} }}"))).source
    numbers = open_session(source).run({"x": np.zeros((50, 40), np.float32)})["y"]
    assert numbers.shape == (50, 40)
    found, _ = np.histogram(numbers, 4, (low, high))
    assert found.sum() == numbers.size
    assert found.min() > 0.9 * numbers.size / 4


def test_a_chance_is_kept(make):
    source = settled(open_source(make("g (float[B] x) => (float[B] y) { y = Bernoulli(x) }"))).source
    drawn = open_session(source).run({"x": np.full(5000, 0.3, np.float32)})["y"]
    assert 0.28 < drawn.mean() < 0.32


def test_nothing_is_drawn_for_no_rows(make):
    source = settled(open_source(make("g (float[B,4] x) => (float[B,4] y) { y = RandomNormalLike(x) }"))).source
    assert open_session(source).run({"x": np.zeros((0, 4), np.float32)})["y"].shape == (0, 4)


def test_a_model_that_draws_nothing_is_itself(original):
    source = open_source(original)
    assert settled(source).source is source
    assert settled(source).note == ""


def test_several_are_counted(make):
    model = drawing(make, "q = RandomNormalLike(h) p = RandomUniformLike(h) r = Add(q, p)")
    assert "(RandomNormalLike 'q' and 1 more)" in settled(open_source(model)).note


LEFT_AS_THEY_ARE = {
    # ONNX Runtime leaves a Dropout out, whatever it is told, but for one of an input.
    "Dropout 'd'": """half = Constant<value_float=0.5>() yes = Constant<value=bool {1}>() d = Dropout(item, half, yes)
        last = Constant<value_ints=[1]>() s = ReduceSum(d, last) r = Add(h, s)""",
    "Multinomial 'd'": "d = Multinomial<sample_size=4, dtype=6>(h) r = Cast<to=1>(d)",
}


@pytest.mark.parametrize(("node", "draw"), LEFT_AS_THEY_ARE.items(), ids=LEFT_AS_THEY_ARE.keys())
def test_an_original_that_does_not_agree_with_itself_is_told(make, node, draw):
    with pytest.raises(VerificationError) as raised:
        optimize(drawing(make, draw), user_inputs=USER)
    message = str(raised.value)
    assert f"the original itself makes other numbers of the same inputs each time that it runs ({node})" in message
    assert ("evaluation mode" in message) == ("Dropout" in node)
    assert "report" not in message


def test_a_result_that_is_wrong_is_not_laid_to_the_original(make):
    """It draws numbers, but those are fixed."""
    original = drawing(make, DRAWS["normal"])
    other = drawing(make, DRAWS["normal"])
    other.graph.node[-1].op_type = "Sub"
    report = verify(original, other, user_inputs=USER)
    assert not report.passed
    assert not report.restless
