"""Bounds of a Range that have an axis, without it: ONNX asks for scalars.

::

    Range( [0], [n], [1] )   ->   Range( 0, n, 1 )

ONNX Runtime takes one entry for a scalar, unless it knows the entry when it loads the model: then it refuses to. So a
model that runs would not any more as soon as sizes are numbers.
"""

from __future__ import annotations

from mari_onnx.analysis import Analysis
from mari_onnx.ir.dims import alike
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.replacement import Replacement, with_replacements


def plain_ranges(graph: Graph, analysis: Analysis) -> Graph:
    """Takes the axes off what every Range reads.

    Returns:
        The graph itself where there are none.
    """
    return with_replacements(graph, lambda made, node: _plain(made, node, analysis))


def _plain(made: Replacement, node: Node, analysis: Analysis) -> list[Node]:
    shapes = [analysis.facts[v].shape for v in node.inputs] if node.kind == "Range" else []
    wide = [alike(shape, (1,)) for shape in shapes]
    if not any(wide):
        return []
    bounds = [made.squeezed(v, [0]) if has_axis else v for v, has_axis in zip(node.inputs, wide, strict=True)]
    return made.ended("Range", bounds, {})
