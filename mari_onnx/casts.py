"""A cast to the type that another value has, as one to that type: what it is made of need not be at hand then.

::

    CastLike( x, y )   ->   Cast<to = the type of y>( x )
    CastLike( x, y )   ->   x, where both have that type

PyTorch's exporter writes scalars like this, and all of attention, where its optimizer is off.
"""

from __future__ import annotations

from mari_onnx.analysis import Analysis
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.replacement import Replacement, with_replacements


def plain_casts(graph: Graph, analysis: Analysis) -> Graph:
    """Names the type of every cast.

    Returns:
        The graph itself where all have it.
    """
    return with_replacements(graph, lambda made, node: _plain(made, node, analysis))


def _plain(made: Replacement, node: Node, analysis: Analysis) -> list[Node]:
    if node.kind != "CastLike":
        return []
    before, after = (analysis.facts[v].dtype for v in node.inputs)
    if not after:
        return []
    if before == after:
        return made.ended("Identity", node.inputs[:1], {})
    return made.ended("Cast", node.inputs[:1], {**node.attrs, "to": after})
