"""What has no entries is a constant."""

from __future__ import annotations

import numpy as np

from mari_onnx import optimize
from mari_onnx.runtime import session
from tests.patterns.support import model_of


def test_an_expand_to_nothing_is_gone() -> None:
    """ONNX Runtime 1.31 takes one to a constant size of 0 for one that does nothing, and gives two entries for one."""
    model = model_of(
        """g (float[B,4] user, float[B,1] item, float[1] given) => (float[B,1] y)
        <int64[1] one = {1}, int64[1] second = {2}> {
            sizes = Shape(item)
            columns = Slice(sizes, one, second)
            none = Sub(columns, one)
            some = Expand(given, none)
            all = Concat<axis = 0>(some, given)
            total = ReduceSum<keepdims = 0>(all)
            u = ReduceMean<axes = [1]>(user)
            s = Mul(u, total)
            y = Add(s, item)
        }"""
    )
    result = optimize(model, ["user"]).model
    assert "Expand" not in {n.op_type for n in result.graph.node}
    user, item = np.ones((1, 4), np.float32), np.arange(3, dtype=np.float32)[:, None]
    (found,) = session(result, threads=1).run(None, {"user": user, "item": item, "given": np.ones(1, np.float32)})
    np.testing.assert_array_equal(found, item + 1)


def test_sizes_come_from_the_inputs_they_are_of() -> None:
    """Exporters' scripts call the first axis of all inputs the same, that of a list of ids of all bags, too."""
    model = model_of(
        """g (float[B,4] user, float[B,1] item, int64[B] ids) => (float[B,1] y) <int64[1] minus = {-1}> {
            there = Reshape(ids, minus)
            count = Shape(there)
            number = Cast<to = 1>(count)
            u = ReduceMean<axes = [1]>(user)
            s = Mul(u, number)
            y = Add(s, item)
        }"""
    )
    result = optimize(model, ["user"]).model
    user, item = np.ones((1, 4), np.float32), np.arange(3, dtype=np.float32)[:, None]
    feeds = {"user": user, "item": item, "ids": np.arange(15)}
    (found,) = session(result, threads=1).run(None, feeds)
    np.testing.assert_array_equal(found, item + 15)
