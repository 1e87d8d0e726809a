"""Products with weights that are quantized block by block, which ONNX Runtime computes in a way of its own.

ONNX Runtime 1.31 makes MatMulNBits of a MatMul and the DequantizeLinear of its weight, and then rounds the rows of the
other operand to integers. Whether it does hangs on what follows the product and how many axes it has, so a rewrite next
to it changes results by more than the rounding of floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from mari_onnx.ir.graph import Node

if TYPE_CHECKING:
    from mari_onnx.rewrite.workspace import Workspace

PRODUCTS = frozenset({"MatMul", "Gemm"})
SMALL_TYPES = frozenset({onnx.TensorProto.INT4, onnx.TensorProto.UINT4})


def is_beside_blocked_product(node: Node, at: Workspace) -> bool:
    """Whether a node is such a product, works on what one makes, makes what is added to that, or reads a weight of one.

    What is added counts, for ONNX Runtime makes a Gemm of a product and of a sum whose sizes it can tell.
    """
    if _is_blocked_product(node, at) or _works_on_one(node, at):
        return True
    if any(_works_on_one(n, at) for v in node.outputs if v for n in at.graph.consumers(v)):
        return True
    blocked = [v for v in node.inputs if v and _is_blocked(v, at)]
    return any(_is_blocked_product(n, at) for v in blocked for n in at.graph.consumers(v))


def _works_on_one(node: Node, at: Workspace) -> bool:
    makers = [at.graph.producer(v) for v in node.inputs if v]
    return any(m is not None and _is_blocked_product(m, at) for m in makers)


def _is_blocked_product(node: Node, at: Workspace) -> bool:
    return node.op in PRODUCTS and not node.domain and _is_blocked(node.inputs[1], at)


def _is_blocked(value: str, at: Workspace) -> bool:
    """Whether a value is made of a weight that is quantized in blocks, or whose numbers share bytes."""
    made = at.graph.producer(value)
    if made is None or made.op != "DequantizeLinear" or made.domain:
        return False
    return bool(made.attrs.get("block_size", 0)) or at.fact(made.inputs[0]).dtype in SMALL_TYPES
