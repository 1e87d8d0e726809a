"""The prices under which the cost model says what was measured.

A cost is a sum of counts (operators, bytes, operations, ...) times what each takes, so it is linear in the prices, or
in one over them where they are rates. They are found by least squares on relative errors, drawn a little towards the
prices that the package has from other machines, for what the samples do not tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mari_onnx.analysis import Inputs, analyze_graph
from mari_onnx.calibration.samples import Sample, microseconds, samples
from mari_onnx.ir import read_graph
from mari_onnx.rewrite.cost import CostModel, node_cost

RATES = ("flops", "entries", "moved", "packed")
"""Prices that are so much per microsecond; the others are microseconds."""
PRICES = ("launch", "launch_view", "matrix", "stretch", "row", "group", "copy", *RATES)
DRAWN = 0.01
"""How much a relative change of a price counts beside a relative error of a sample."""
FARTHEST = 20.0
"""By what factor a price may differ from that of the package."""


@dataclass(frozen=True)
class Calibration:
    """Prices of a machine.

    Attributes:
        prices: The prices.
        error_before: Median relative error of the package's prices on the samples.
        error_after: That of the new ones.
        samples: How many samples were timed.
    """

    prices: CostModel
    error_before: float
    error_after: float
    samples: int


def calibrate(
    measure: Callable[[Sample], float] = lambda sample: microseconds(sample.model),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Times single operators, which takes about a second, and finds the prices that fit.

    Args:
        measure: Microseconds of a sample.
        progress: Told the number of samples timed, and their number in all.
    """
    taken = list(samples())
    counts = np.array([_counts(sample) for sample in taken])
    times = []
    for index, sample in enumerate(taken):
        progress(index, len(taken))
        times.append(measure(sample))
    start = _as_costs(CostModel())
    found = _fitted(counts, np.array(times), start)
    before, after = (_error(counts, np.array(times), costs) for costs in (start, found))
    return Calibration(_as_prices(found), before, after, len(taken))


def _counts(sample: Sample) -> list[float]:
    """How often each price is paid; the last entry stands for the run itself."""
    graph = read_graph(sample.model)
    facts = analyze_graph(graph, Inputs({}, {}, None)).facts
    return [sum(node_cost(node, facts, one) for node in graph.nodes) for one in _ones()] + [1.0]


def _ones() -> list[CostModel]:
    """For each price the model in which it alone costs anything."""
    free = {name: np.inf if name in RATES else 0.0 for name in PRICES}
    return [priced({**free, name: 1.0}) for name in PRICES]


def priced(prices: Mapping[str, float]) -> CostModel:
    """A cost model with some prices of its own."""
    return replace(CostModel(), **prices)  # type: ignore[arg-type]  # the other fields are integers


def _as_costs(model: CostModel) -> np.ndarray:
    values = [getattr(model, name) for name in PRICES]
    return np.array([1 / v if name in RATES else v for name, v in zip(PRICES, values, strict=True)])


def _as_prices(costs: np.ndarray) -> CostModel:
    return priced({name: float(1 / c if name in RATES else c) for name, c in zip(PRICES, costs, strict=True)})


def _fitted(counts: np.ndarray, times: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Costs in multiples of those of the package, found by ridge regression around 1."""
    scaled = counts / times[:, None] * np.append(start, times.min())
    pull = DRAWN * np.sqrt(len(times)) * np.eye(len(start) + 1)
    pull[-1] = 0.0
    rows = np.vstack([scaled, pull])
    goal = np.concatenate([np.ones(len(times)), pull @ np.ones(len(start) + 1)])
    factors, *_ = np.linalg.lstsq(rows, goal, rcond=None)
    found: np.ndarray = start * np.clip(factors[:-1], 1 / FARTHEST, FARTHEST)
    return found


def _error(counts: np.ndarray, times: np.ndarray, costs: np.ndarray) -> float:
    """The median relative error, with the time that best explains what a run takes beside its operators."""
    explained = counts[:, :-1] @ costs
    run = max(0.0, float(np.median((times - explained)[times <= np.median(times)])))
    return float(np.median(np.abs(explained + run - times) / times))
