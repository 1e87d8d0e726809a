"""Letters of an Einsum that have one entry in an operand and more in another: such operands do without them.

ONNX Runtime lets these axes broadcast, but infers the first size it meets. Where the size of 1 was worked out at run
time and is known now, it would take its own mistake for a contradiction.
"""

from __future__ import annotations

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.ir.dims import may_be_zero, same
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.replacement import Replacement, with_replacements


def plain_einsums(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every Einsum with letters of one size each.

    Returns:
        The graph itself where all are so.
    """

    def plain(made: Replacement, node: Node) -> list[Node]:
        if node.kind != "Einsum":
            return []
        shapes = [analysis.facts[v].shape for v in node.inputs]
        known = [s for s in shapes if s is not None]
        if len(known) < len(shapes):
            return []
        # ONNX Runtime's Einsum does not survive operands without entries that have little in common.
        if any(may_be_zero(d) for shape in known for d in shape):
            return []
        return _plain(made, node, known)

    return with_replacements(graph, plain)


def _plain(made: Replacement, node: Node, shapes: list[Shape]) -> list[Node]:
    equation = str(node.attrs.get("equation", ""))
    parsed = None if "." in equation else einsum_terms(equation, [len(s) for s in shapes])
    if parsed is None or any(len(set(term)) < len(term) for term in parsed[0]):
        return []
    terms, result = parsed
    pairs = [list(zip(term, shape, strict=True)) for term, shape in zip(terms, shapes, strict=True)]
    wide = {letter for pair in pairs for letter, size in pair if not same(size, 1)}
    gone = [[axis for axis, (x, size) in enumerate(pair) if x in wide and same(size, 1)] for pair in pairs]
    if not any(gone):
        return []
    inputs = [made.squeezed(v, axes) if axes else v for v, axes in zip(node.inputs, gone, strict=True)]
    left = ["".join(x for k, x in enumerate(term) if k not in axes) for term, axes in zip(terms, gone, strict=True)]
    return made.ended("Einsum", inputs, {"equation": f"{','.join(left)}->{result}"})
