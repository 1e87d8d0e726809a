"""Operators that treat each entry of the candidate axis alone, whether a candidate has one there or several.

Their transfer functions refuse whatever works along that axis; that the values are equal for all candidates is not
needed for it. Where tokens were laid end to end, each then is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.rewrite.workspace import Workspace

LAYERS = frozenset(
    {
        *UNARY,
        *BROADCASTING,
        *REDUCTIONS,
        *("Reshape", "Expand", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Split", "Slice", "Pad"),
        *("Gather", "GatherElements", "OneHot"),
        *("MatMul", "Gemm", "Einsum"),
        *("Conv", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
        *("RNN", "GRU", "LSTM"),
        *("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "CumSum", "TopK", "Trilu"),
        *("LayerNormalization", "RMSNormalization", "BatchNormalization", "InstanceNormalization"),
        "LpNormalization",
    }
)


def treats_rows_alone(node: Node, at: Workspace, fact_of: Callable[[str], Fact]) -> bool:
    """Whether each entry of the candidate axis of a node's outputs comes of the same entry of its inputs.

    Args:
        node: A node with a candidate axis in all its outputs.
        at: The graph around it.
        fact_of: What is known of the values that it reads and makes.
    """
    if node.domain or node.captures or node.op not in LAYERS:
        return False
    if node.op == "Squeeze" and not at.axes(node):
        # Which axes it removes would depend on how many rows there are.
        return False
    fact = fact_of(next(filter(None, node.outputs)))
    if fact.axis is None or fact.shape is None:
        return False
    rows = fact.shape[fact.axis.index]
    # A value without candidates that has an entry for each row is cut by nobody.
    bare = [fact_of(v) for v in node.inputs if v and fact_of(v).axis is None]
    return all(f.shape is not None and not any(same(size, rows) for size in f.shape) for f in bare)
