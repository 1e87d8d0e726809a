"""Originals that do not agree with themselves: whatever differs from them says nothing of a result.

A model that was exported in training mode drops values out at random, and there are operators that draw numbers which
no fixed ones take the place of (:mod:`mari_onnx.verification.drawn`).
"""

from __future__ import annotations

import onnx

from mari_onnx.ir.subgraphs import all_graphs
from mari_onnx.verification.compare import compare_arrays
from mari_onnx.verification.comparing import Pair, State
from mari_onnx.verification.sessions import RunError
from mari_onnx.verification.source import inlined

ROWS = 7
"""The most candidates of runs that are repeated, if there were runs of so few."""
DRAWING = frozenset(
    {"Multinomial", "Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def restless(pair: Pair, state: State) -> str:
    """A sentence where the original makes other numbers of the same inputs when it runs again; empty otherwise."""
    few = [b for b in state.batches if b <= ROWS] or state.batches[:1]
    if not any(_differs(pair, state, batch) for batch in few):
        return ""
    nodes = [node for graph in all_graphs(inlined(pair.source.proto).graph) for node in graph.node]
    training = [node for node in nodes if _trains(node)]
    named = training or [node for node in nodes if node.op_type in DRAWING]
    others = f" and {len(named) - 1} more" if len(named) > 1 else ""
    cause = f" ({named[0].op_type} '{named[0].name or named[0].output[0]}'{others})" if named else ""
    advice = "export it in evaluation mode (model.eval())" if training else "--no-verify writes the result as it is"
    return f"the original itself makes other numbers of the same inputs each time that it runs{cause}; {advice}"


def _differs(pair: Pair, state: State, batch: int) -> bool:
    feeds = state.plan.draw(batch, 0, state.caution)
    try:
        first, second = (pair.original.run(feeds.full) for _ in range(2))
    except RunError:
        return False
    pairs = ((array, second[name], pair.dtypes.get(name)) for name, array in first.items())
    return any(compare_arrays(one, two, pair.tolerance, None, dtype).mismatch for one, two, dtype in pairs)


def _trains(node: onnx.NodeProto) -> bool:
    """Whether an operator may do what it does in training; a Dropout is told so by an input."""
    if node.op_type == "Dropout":
        return len(node.input) > 2 and bool(node.input[2])
    return node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute)
