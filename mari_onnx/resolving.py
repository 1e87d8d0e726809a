"""What follows from sizes, written out before anything is moved: branches, loops, sequences, constants, lookups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mari_onnx.analysis import Analysis, analyze_graph
from mari_onnx.analysis.facts import Fact
from mari_onnx.branches import take_branches
from mari_onnx.casts import plain_casts
from mari_onnx.einsums import plain_einsums
from mari_onnx.ir import Graph
from mari_onnx.known import fix_sizes
from mari_onnx.lookups import lookups_in_place, plain_lookups
from mari_onnx.masked_writes import plain_masked_writes
from mari_onnx.normalise import normalise
from mari_onnx.own_pieces import plain_pieces
from mari_onnx.ranges import plain_ranges
from mari_onnx.repeated_constants import plain_constants
from mari_onnx.row_writes import plain_row_writes
from mari_onnx.searches import plain_searches
from mari_onnx.selections import plain_selections
from mari_onnx.sequences import plain_sequences
from mari_onnx.signature import Separated
from mari_onnx.steps import run_at_once
from mari_onnx.writes import plain_writes

STEPS = (
    take_branches,
    plain_casts,
    plain_constants,
    plain_ranges,
    run_at_once,
    plain_sequences,
    fix_sizes,
    plain_lookups,
    lookups_in_place,
    plain_searches,
    plain_selections,
    plain_writes,
    plain_row_writes,
    plain_masked_writes,
    plain_einsums,
    plain_pieces,
)
"""Each returns the graph itself where it finds nothing to do."""


def resolve(separated: Separated) -> tuple[Separated, Analysis]:
    """Applies the steps until none finds anything.

    Returns:
        The graph in its final form, and what is proven of it; of values that the steps have made another name of and
        of stacked inputs, too.
    """
    analysis = analyze_graph(separated.graph, separated.inputs)
    graph = _first(separated.graph, analysis)
    others = {name: split.whole for name, split in separated.stacked.items() if split.whole != name}
    while graph is not separated.graph:
        others |= {n.output: n.inputs[0] for n in graph.nodes if n.kind == "Identity"}
        separated = replace(separated, graph=normalise(graph))
        analysis = analyze_graph(separated.graph, separated.inputs)
        graph = _first(separated.graph, analysis)
    return separated, replace(analysis, facts=_by_all_names(analysis.facts, others))


def _by_all_names(facts: Mapping[str, Fact], others: Mapping[str, str]) -> Mapping[str, Fact]:
    """Facts of values that are gone as well, where each was the same as another: the original has nodes that read them.

    Args:
        facts: Of the values of the graph.
        others: For values that went, what they were the same as.
    """
    known = dict(facts)
    for name in others:
        source = name
        while source not in facts and source in others:
            source = others[source]
        if source in facts:
            known.setdefault(name, facts[source])
    return known


def _first(graph: Graph, analysis: Analysis) -> Graph:
    """The graph after the first step that finds something to do."""
    for step in STEPS:
        resolved = step(graph, analysis)
        if resolved is not graph:
            return resolved
    return graph
