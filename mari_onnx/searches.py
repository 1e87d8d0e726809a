"""Searches that are written out step by step, as counts of the borders that lie below::

    lo, hi = 0, n;  (m = (lo + hi) / 2;  lo, hi = (lo, m) where borders[m] >= x, (m + 1, hi) elsewhere) ..
        ->   n - sum_k (x <= borders[k])

PyTorch's exporter writes ``torch.bucketize`` so, in some 18 operators for each halving.

Proof: what reads a number ``x`` in comparisons with constants alone, and works on nothing but that and constants
otherwise, is the same for all numbers between two neighbouring ones of these constants. So it is known from one run
for each constant, one between each two, one beyond either end, and one for what is no number. That they are all the
constants that ``x`` is compared with is seen in these runs. Where the outcomes rise from each interval to the next by
whole numbers, they are a count of comparisons, which come out as those of the original do, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.analysis import Analysis
from mari_onnx.ir.dims import alike
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.outcomes import COMPARISONS, Outcomes
from mari_onnx.replacement import Replacement, with_replacements

MOST_BORDERS = 64
"""A longer search is cheaper than as many comparisons."""
WORTH = 2
"""A border takes as long as so many operators on each number: it is compared with, and what comes of it is counted."""
SINCE = 13
"""The operator set from which on axes of a sum are an input, and all comparisons are there."""


@dataclass(frozen=True, slots=True)
class Count:
    """A value as a count of comparisons.

    Attributes:
        number: What is compared.
        op: With each border.
        borders: Once for each that is counted.
        start: What it is where no comparison holds.
        sign: 1 where it grows by each comparison that holds, -1 where it shrinks.
    """

    number: str
    op: str
    borders: np.ndarray
    start: int
    sign: int


def plain_searches(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every search among constant borders as the count that it is.

    Returns:
        The graph itself where there is none.
    """
    found = dict(_searches(graph, analysis)) if graph.opset >= SINCE else {}
    if not found:
        return graph
    return with_replacements(graph, lambda made, node: _counted(made, node, found, analysis))


def _counted(made: Replacement, node: Node, found: Mapping[Node, Count], analysis: Analysis) -> list[Node]:
    count = found.get(node)
    if count is None:
        return []
    fact = analysis.facts[node.output]
    kind = onnx.helper.tensor_dtype_to_np_dtype(fact.dtype)
    # Borders in front: there are as few stretches as borders, over which none of them changes.
    borders = made.constant(count.borders.reshape(-1, *[1] * (fact.rank or 0)))
    holds = made.call("Cast", [made.call(count.op, [count.number, borders])], to=fact.dtype)
    total = made.call("ReduceSum", [holds, made.integers([0])], keepdims=0)
    start = made.constant(np.array(count.start, kind))
    return made.ended("Add" if count.sign > 0 else "Sub", [start, total], {})


def _searches(graph: Graph, analysis: Analysis) -> Iterator[tuple[Node, Count]]:
    for number in _compared(graph, analysis):
        outcomes = Outcomes.of(number, graph, analysis, MOST_BORDERS)
        if outcomes is None:
            continue
        for node in graph.sorted_nodes():
            steps = outcomes.steps.get(node.output)
            if steps is None or not _is_read_elsewhere(node, graph, outcomes):
                continue
            count = _as_count(number, steps, outcomes) if steps.dtype in (np.int64, np.int32) else None
            like = alike(analysis.facts[node.output].shape, analysis.facts[number].shape)
            if count is not None and like and WORTH * len(count.borders) <= outcomes.made_for(node, graph):
                yield node, count


def _compared(graph: Graph, analysis: Analysis) -> list[str]:
    """Numbers that are compared again and again."""
    times: dict[str, int] = {}
    for node in graph.sorted_nodes():
        for value in node.inputs if node.op in COMPARISONS and not node.domain else ():
            times[value] = times.get(value, 0) + 1
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
    known = [v for v in times if v not in graph.weights and analysis.facts[v].dtype in floats]
    return [v for v in known if times[v] > 1 and analysis.facts[v].shape is not None]


def _is_read_elsewhere(node: Node, graph: Graph, outcomes: Outcomes) -> bool:
    readers = graph.consumers(node.output)
    return graph.is_output(node.output) or any(r.captures or r.output not in outcomes.steps for r in readers)


def _as_count(number: str, steps: np.ndarray, outcomes: Outcomes) -> Count | None:
    """The outcomes as a count, if they rise from each interval to the next, whichever of two has the border itself."""
    borders = outcomes.borders
    at, between, nowhere = (steps[part] for part in (outcomes.at, outcomes.between, outcomes.nowhere))
    for below in (True, False):
        # Nothing lies between borders that are neighbours among numbers of their type, nor beyond infinity.
        inner = outcomes.inner[:-1] if below else outcomes.inner[1:]
        if not np.array_equal(at[inner], (between[:-1] if below else between[1:])[inner]):
            continue
        beyond = _beyond(outcomes, at, between, int(nowhere), below)
        levels = [*at, beyond] if below else [beyond, *at]
        rises = np.diff(levels)
        if (rises < 0).any() or not 0 < rises.sum() <= MOST_BORDERS:
            return None
        counted = np.repeat(borders, rises)
        if nowhere == levels[-1]:
            return Count(number, "LessOrEqual" if below else "Less", counted, int(levels[-1]), -1)
        if nowhere == levels[0]:
            return Count(number, "Greater" if below else "GreaterOrEqual", counted, int(levels[0]), 1)
    return None


def _beyond(outcomes: Outcomes, at: np.ndarray, between: np.ndarray, nowhere: int, below: bool) -> int:
    """The outcome behind all borders, or in front of them; where there are no numbers, whatever makes it a count."""
    if below:
        return int(between[-1]) if outcomes.inner[-1] else max(int(at[-1]), nowhere)
    return int(between[0]) if outcomes.inner[0] else min(int(at[0]), nowhere)
