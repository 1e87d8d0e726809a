"""Open dimensions get sizes of their own in one run: a length taken from the wrong input shows there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mari_onnx.verification import verify
from mari_onnx.verification.feeds import SHORT_OPEN_SIZES, Lengths, plan_feeds
from mari_onnx.verification.signature import original_inputs
from mari_onnx.verification.source import open_source
from tests.verification.conftest import ModelMaker

USER = ["clicks", "views"]


def of(make: ModelMaker, counted: str, clicks: str = "C", views: str = "V") -> onnx.ModelProto:
    """The item times the number of clicks, or of what else is counted, and plus the sum of the views."""
    return make(
        f"""g (float[B,{clicks}] clicks, float[B,{views}] views, float[B,1] item) => (float[B,1] score) {{
            first = Constant<value = int64[1] {{1}}>() second = Constant<value = int64[1] {{2}}>()
            all = Shape({counted}) size = Slice(all, first, second) length = Cast<to = 1>(size)
            seen = ReduceSum(views, first) made = ReduceSum(clicks, first) both = Add(seen, made)
            scaled = Mul(item, length) score = Add(scaled, both)
        }}"""
    )


def test_another_length_of_another_name(make: ModelMaker) -> None:
    assert verify(of(make, "clicks"), of(make, "clicks"), user_inputs=USER).passed
    report = verify(of(make, "clicks"), of(make, "views"), user_inputs=USER)
    assert not report.passed
    assert "another size for each open dimension" in str(report.outputs[0].mismatch)


def test_another_length_of_the_same_name(make: ModelMaker) -> None:
    """The runtime does not ask whether two dimensions of one name have one size."""
    report = verify(of(make, "clicks", "T", "T"), of(make, "views", "T", "T"), user_inputs=USER)
    assert not report.passed
    assert "also for those of one name" in str(report.outputs[0].mismatch)


def test_the_batch_name_on_another_axis(make: ModelMaker) -> None:
    assert not verify(of(make, "clicks", "B", "B"), of(make, "views", "B", "B"), user_inputs=USER).passed


def with_mask(make: ModelMaker) -> onnx.ModelProto:
    return make(
        """g (float[B,T] clicks, float[B,T] mask, float[B,N] views, float[B,1] item) => (float[B,1] score) {
            first = Constant<value = int64[1] {1}>() kept = Mul(clicks, mask)
            made = ReduceSum(kept, first) seen = ReduceSum(views, first) both = Add(made, seen)
            score = Mul(item, both)
        }"""
    )


def test_lengths_that_have_to_agree_do(make: ModelMaker) -> None:
    model = with_mask(make)
    report = verify(model, model, user_inputs=["clicks", "mask", "views"])
    assert report.passed
    assert report.runs == 12


def test_one_open_dimension_is_tried_short_as_well(make: ModelMaker) -> None:
    model = of(make, "clicks", "T", "3")
    assert verify(model, model, user_inputs=USER).runs == 8 + 1 + len(SHORT_OPEN_SIZES)


def test_a_difference_that_only_short_histories_show(make: ModelMaker) -> None:
    text = """g (float[B,T] clicks, float[B,1] item) => (float[B,1] y)
        <int64 one = {{1}}, int64 three = {{3}}, int64[1] last = {{1}}> {{
        s = Shape(clicks) t = Gather(s, one) n = {length} f = Cast<to = 1>(n) m = Mul(item, f)
        u = ReduceSum<keepdims = 1>(clicks, last) y = Add(u, m)
    }}"""
    one, other = (make(text.format(length=length)) for length in ("Min(t, three)", "Identity(three)"))
    report = verify(one, other, user_inputs=["clicks"])
    assert not report.passed
    assert "open dimensions of size 1" in report.summary()


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        (Lengths.EQUAL, {"clicks": (2, 4), "mask": (2, 4), "views": (2, 4), "item": (2, 1)}),
        (Lengths.NAMED, {"clicks": (2, 4), "mask": (2, 4), "views": (2, 5), "item": (2, 1)}),
        (Lengths.FREE, {"clicks": (2, 4), "mask": (2, 5), "views": (2, 6), "item": (2, 1)}),
    ],
)
def test_shapes(make: ModelMaker, lengths: Lengths, expected: dict[str, tuple[int, int]]) -> None:
    source = open_source(with_mask(make))
    plan = plan_feeds(source, original_inputs(source, {}), (), lengths=lengths)
    assert {name: array.shape for name, array in plan.draw(2, 0).full.items()} == expected


def test_samples_of_the_user_that_differ_are_told(make: ModelMaker) -> None:
    """Whoever names an item's input as the user's learns it from a request of their own."""
    model = of(make, "clicks", "3", "3")
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    said = verify(model, model, user_inputs=USER, samples={"clicks": rows}).notes
    assert any("samples of clicks differ" in note for note in said)
    said = verify(model, model, user_inputs=USER, samples={"clicks": rows[[0, 0]]}).notes
    assert not any("samples" in note for note in said)
