"""What follows from sizes, written out before anything is moved: branches, loops, constants, lookups, writes."""

from __future__ import annotations

from dataclasses import replace

from mari_onnx.analysis import Analysis, analyze_graph
from mari_onnx.branches import take_branches
from mari_onnx.einsums import plain_einsums
from mari_onnx.ir import Graph
from mari_onnx.known import fix_sizes
from mari_onnx.lookups import lookups_in_place, plain_lookups
from mari_onnx.masked_writes import plain_masked_writes
from mari_onnx.normalise import normalise
from mari_onnx.signature import Separated
from mari_onnx.steps import run_at_once
from mari_onnx.writes import plain_writes

STEPS = (
    take_branches,
    run_at_once,
    fix_sizes,
    plain_lookups,
    lookups_in_place,
    plain_writes,
    plain_masked_writes,
    plain_einsums,
)
"""Each returns the graph itself where it finds nothing to do."""


def resolve(separated: Separated) -> tuple[Separated, Analysis]:
    """Applies the steps until none finds anything.

    Returns:
        The graph in its final form, and what is proven of it.
    """
    analysis = analyze_graph(separated.graph, separated.inputs)
    graph = _first(separated.graph, analysis)
    while graph is not separated.graph:
        separated = replace(separated, graph=normalise(graph))
        analysis = analyze_graph(separated.graph, separated.inputs)
        graph = _first(separated.graph, analysis)
    return separated, analysis


def _first(graph: Graph, analysis: Analysis) -> Graph:
    """The graph after the first step that finds something to do."""
    for step in STEPS:
        resolved = step(graph, analysis)
        if resolved is not graph:
            return resolved
    return graph
