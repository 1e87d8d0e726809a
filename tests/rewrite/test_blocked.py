"""Products whose weights are quantized in blocks are the runtime's own: nothing changes next to them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from mari_onnx.errors import RuleError
from mari_onnx.patterns import RULES
from mari_onnx.rewrite.blocked import is_beside_blocked_product
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import at_work, sides_of

TEXT = """<ir_version: 10, opset_import: ["" : 21]> score (float[B,900] user, float[B,124] item) => (float[B,64] y) {
    x = Concat<axis = 1>(user, item) w = DequantizeLinear<axis = 0BLOCKS>(q, s) m = MatMul(x, w) y = Add(m, b)
}"""


def model(dtype: int, block: int) -> onnx.ModelProto:
    """A layer over user and item with a weight of integers, scaled by blocks of rows or by columns."""
    made = parser.parse_model(TEXT.replace("BLOCKS", f", block_size = {block}" if block else ""))
    numbers = np.random.default_rng(0).integers(-8, 8, (1024, 64))
    made.graph.initializer.append(helper.make_tensor("q", dtype, numbers.shape, numbers.ravel().tolist()))
    scales = np.full((1024 // block, 64) if block else (), 0.01, np.float32)
    made.graph.initializer.append(numpy_helper.from_array(scales, "s"))
    made.graph.initializer.append(numpy_helper.from_array(np.ones(64, np.float32), "b"))
    return made


BLOCKED = [(TensorProto.INT4, 32), (TensorProto.INT8, 32), (TensorProto.INT4, 0)]


@pytest.mark.parametrize(("dtype", "block"), [*BLOCKED, (TensorProto.INT8, 0)])
def test_the_product_and_what_reads_it(dtype: int, block: int) -> None:
    layer = model(dtype, block)
    at = at_work(layer, sides_of(layer))
    beside = {node.op for node in at.graph.nodes if is_beside_blocked_product(node, at)}
    assert beside == ({"MatMul", "Add"} if (dtype, block) in BLOCKED else set())


@pytest.mark.parametrize(("dtype", "block"), [*BLOCKED, (TensorProto.INT8, 0)])
def test_what_is_added(dtype: int, block: int) -> None:
    """The runtime makes a Gemm of a product and a sum, instead, where it can tell the sizes of what is added."""
    layer = model(dtype, block)
    layer.graph.node[-1].input[1] = "added"
    layer.graph.node.insert(0, helper.make_node("Neg", ["item"], ["negative"]))
    layer.graph.node.insert(1, helper.make_node("ReduceMax", ["negative"], ["added"]))
    at = at_work(layer, sides_of(layer))
    beside = {node.op for node in at.graph.nodes if is_beside_blocked_product(node, at)}
    assert beside == ({"MatMul", "Add", "ReduceMax"} if (dtype, block) in BLOCKED else set())


@pytest.mark.parametrize(("dtype", "block"), BLOCKED)
def test_nothing_changes_next_to_them(dtype: int, block: int) -> None:
    layer = model(dtype, block)
    found = rewrite(at_work(layer, sides_of(layer)), RULES, CostModel(candidates=512))
    assert not {a.node.split()[0] for a in found.applied} & {"MatMul", "Add"}


@pytest.mark.parametrize(("dtype", "block"), [*BLOCKED, (TensorProto.INT8, 0)])
@pytest.mark.parametrize(("op", "inputs"), [("MatMul", ["x", "w"]), ("Transpose", ["w"]), ("Neg", ["m"])])
def test_no_rule_elsewhere_makes_more_of_them(op: str, inputs: list[str], dtype: int, block: int) -> None:
    """A rule that starts further on, as those for attention, may not compute the product anew for some rows."""
    layer = model(dtype, block)
    at = at_work(layer, sides_of(layer))
    if (dtype, block) in BLOCKED:
        with pytest.raises(RuleError, match="quantized in blocks"):
            at.emit(op, inputs)
    else:
        assert at.fact(at.emit(op, inputs)).dtype == TensorProto.FLOAT


def test_tables_of_few_bits_are_looked_up() -> None:
    text = TEXT.replace("BLOCKS", "").replace("124] item)", "124] item, int64[B] item_id)")
    text = text.replace("y) {", "y, float[B,64] rows) {")
    layer = parser.parse_model(text.replace("w = Deq", "t = DequantizeLinear(q, s) rows = Gather(t, item_id) w = Deq"))
    layer.graph.initializer.extend(model(TensorProto.INT4, 0).graph.initializer)
    at = at_work(layer, sides_of(layer))
    assert at.fact(at.emit("Gather", ["t", "item_id"])).rank == 2
