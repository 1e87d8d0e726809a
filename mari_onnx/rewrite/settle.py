"""Sizes settled: what follows from the sizes of the inputs is built from them directly, not by the model's ladder.

Exporters write ``Shape -> Gather -> Mul -> Unsqueeze -> Concat`` in front of Reshape, Expand and Tile, often beginning
at a user tensor, which has one row now. The entries are known as expressions; they are built anew as constants, or from
the sizes of an item input, and the ladder falls away with the Expand that it would have needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from mari_onnx.analysis.content import INTEGERS
from mari_onnx.analysis.facts import Content, Fact
from mari_onnx.analysis.inputs import InputSide
from mari_onnx.ir.dims import alike
from mari_onnx.ir.graph import Node
from mari_onnx.rewrite.sizes import SizeBuilder
from mari_onnx.rewrite.workspace import Workspace

SIZES_RULE = "sizes"


def settle_sizes(workspace: Workspace) -> None:
    """Replaces every value whose entries are known, where something other than such a value is made of it.

    Values without entries are constants as well: ONNX Runtime 1.31 takes an Expand to a constant size of 0 for one that
    does nothing.
    """
    nodes = workspace.graph.sorted_nodes()
    sources = _item_inputs(nodes, workspace)
    for node in nodes:
        if node not in workspace.graph or node.domain:
            continue
        if _is_empty(node, workspace):
            _make_empty(node, workspace)
        elif node.op == "Reshape" and _has_open_target(node, workspace):
            _close_target(node, workspace)
        elif len(node.outputs) == 1 and _is_frontier(node, workspace):
            _build(node, sources[node.output], workspace)
    workspace.settle()


def _item_inputs(nodes: Iterable[Node], workspace: Workspace) -> Mapping[str, frozenset[str]]:
    """The item inputs that each value comes of."""
    found = {name: frozenset([name]) for name in workspace.inputs.on(InputSide.ITEM)}
    none: frozenset[str] = frozenset()
    for node in nodes:
        found |= dict.fromkeys(node.outputs, none.union(*(found.get(v, none) for v in node.reads)))
    return found


def _is_empty(node: Node, workspace: Workspace) -> bool:
    """Whether all that a node makes is known to have no entries."""
    facts = [workspace.fact(v) for v in node.outputs if v]
    if node.captures or any(map(workspace.graph.is_pinned, node.outputs)) or not all(f.dtype for f in facts):
        return False
    shapes = [f.shape for f in facts]
    return all(s is not None and 0 in s and all(isinstance(d, int) for d in s) for s in shapes) and bool(shapes)


def _make_empty(node: Node, workspace: Workspace) -> None:
    workspace.working_for(node, SIZES_RULE)
    facts = [workspace.fact(v) if v else Fact() for v in node.outputs]
    kinds = [onnx.helper.tensor_dtype_to_np_dtype(f.dtype) for f in facts]
    values = [workspace.weight(np.empty(f.shape or (), k)) for f, k in zip(facts, kinds, strict=True)]
    workspace.replace(node, values)


def _has_open_target(node: Node, workspace: Workspace) -> bool:
    content, shape = workspace.fact(node.inputs[1]).content, workspace.fact(node.output).shape
    if workspace.is_weight(node.inputs[1]) or shape is None or content is None:
        return False
    numbers = [d for d in shape if isinstance(d, int)]
    return 0 not in numbers and len(numbers) >= len(shape) - 1


def _close_target(node: Node, workspace: Workspace) -> None:
    """A Reshape target as a constant with -1 where one size is open."""
    workspace.working_for(node, SIZES_RULE)
    shape = workspace.fact(node.output).shape or ()
    target = workspace.weight(np.array([d if isinstance(d, int) else -1 for d in shape], np.int64))
    workspace.reread(node, (node.inputs[0], target))


def _is_frontier(node: Node, workspace: Workspace) -> bool:
    """Whether a value of known entries is read by a node that makes something else of it."""
    fact = workspace.fact(node.output)
    if fact.content is None or fact.dtype not in INTEGERS or node.rule == SIZES_RULE:
        return False
    if workspace.graph.is_pinned(node.output):
        return False
    made = [v for c in workspace.graph.consumers(node.output) for v in c.outputs if v]
    return any(workspace.fact(v).content is None for v in made)


def _build(node: Node, sources: frozenset[str], workspace: Workspace) -> None:
    """Builds sizes from inputs that they are sizes of: others may be said to be as long, and not be."""
    fact = workspace.fact(node.output)
    assert fact.content is not None
    workspace.working_for(node, SIZES_RULE)
    own = [name for name in workspace.inputs.on(InputSide.ITEM) if name in sources]
    sizes = workspace.sizes if not own or workspace.sizes.counted in own else SizeBuilder(workspace, own[0])
    value = _value_of(fact, fact.content, sizes, workspace)
    if value is None or value == node.output:
        return
    # A list whose length became known by what was settled before stays as it is.
    if fact.shape is None or alike(workspace.fact(value).shape, fact.shape):
        workspace.replace(node, (value,))


def _value_of(fact: Fact, content: Content, sizes: SizeBuilder, workspace: Workspace) -> str | None:
    numbers = content.integers()
    if numbers is not None:
        kind = onnx.helper.tensor_dtype_to_np_dtype(fact.dtype)
        return workspace.weight(np.array(numbers, kind).reshape(content.shape))
    if len(content.shape) > 1:
        return None
    vector = sizes.vector(content.items, fact.dtype)
    return workspace.squeeze(vector, [0]) if vector is not None and not content.shape else vector
