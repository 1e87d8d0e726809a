"""Products with weights that are quantized block by block, which ONNX Runtime computes in a way of its own.

ONNX Runtime 1.31 makes MatMulNBits of a MatMul and the DequantizeLinear of its weight, and then rounds the rows of the
other operand to integers. Whether it does hangs on what follows the product and how many axes it has, so a rewrite next
to it changes results by more than the rounding of floats.
"""

from __future__ import annotations

import onnx

from mari_onnx.ir.graph import Node
from mari_onnx.rewrite.workspace import Workspace

PRODUCTS = frozenset({"MatMul", "Gemm"})
SMALL_TYPES = frozenset({onnx.TensorProto.INT4, onnx.TensorProto.UINT4})


def is_beside_blocked_product(node: Node, at: Workspace) -> bool:
    """Whether a node is such a product, or works on what one makes."""
    makers = [at.graph.producer(v) for v in node.inputs if v]
    return _is_blocked_product(node, at) or any(m is not None and _is_blocked_product(m, at) for m in makers)


def _is_blocked_product(node: Node, at: Workspace) -> bool:
    if node.op not in PRODUCTS or node.domain:
        return False
    made = at.graph.producer(node.inputs[1])
    if made is None or made.op != "DequantizeLinear" or made.domain:
        return False
    return bool(made.attrs.get("block_size", 0)) or at.fact(made.inputs[0]).dtype in SMALL_TYPES
