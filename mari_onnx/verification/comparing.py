"""Two models on the same feeds: what their outputs say of each other, and what a reader should know of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mari_onnx.verification.burnt import WrittenRows
from mari_onnx.verification.choices import beside_float64
from mari_onnx.verification.compare import Tolerance, compare_arrays, noise_level, ranking_kept
from mari_onnx.verification.draws import Caution
from mari_onnx.verification.feeds import FeedPlan, Feeds
from mari_onnx.verification.nudged import beside_nudged, run_nudged
from mari_onnx.verification.reference import Float64Reference, build_reference
from mari_onnx.verification.report import OutputReport
from mari_onnx.verification.sessions import RunError, Session
from mari_onnx.verification.signature import Signature
from mari_onnx.verification.source import Array, ModelSource
from mari_onnx.verification.zeros import sure_entries

NOISE_BATCH = 64


@dataclass
class State:
    """What changes from run to run.

    Attributes:
        reports: what was found of each output so far.
        plan: how feeds are drawn.
        written: the number of rows that an exporter may have written into the graph.
        caution: how timid draws have to be.
        ranking: whether candidates keep their order; None where no output is a ranking.
        runs: how many runs were compared.
        batches: the numbers of candidates that the original ran with.
        notes: sentences for the reader.
        failure: why the original did not run, where it did not.
        refusals: what ONNX Runtime said of the draws by the plan that the original did not run on.
        reference: the original in double precision, once it was made.
        reference_tried: whether that was tried.
        noise: the original's own error by output, once it was measured.
        axes: the axis of the candidates in each output.
        pace: seconds for each candidate in the last run of the original.
    """

    reports: dict[str, OutputReport]
    plan: FeedPlan
    written: WrittenRows
    caution: Caution = Caution.NORMAL
    ranking: bool | None = None
    runs: int = 0
    batches: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    refusals: list[str] = field(default_factory=list)
    reference: Float64Reference | None = None
    reference_tried: bool = False
    noise: Mapping[str, float] | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    pace: float = 0.0

    def note(self, sentence: str) -> None:
        """Adds a sentence for the reader, once; an empty one says nothing."""
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)


@dataclass(frozen=True)
class Pair:
    """Two models, ready to run.

    Attributes:
        original: the model as exported.
        optimized: the other one.
        source: the original as it was given.
        signature: how the other's inputs are made from the original's.
        tolerance: for 32-bit floats.
        dtypes: the types of the original's outputs.
    """

    original: Session
    optimized: Session
    source: ModelSource
    signature: Signature
    tolerance: Tolerance
    dtypes: Mapping[str, int]


def compare_run(pair: Pair, state: State, feeds: Feeds, expected: Mapping[str, Array]) -> None:
    """Runs the optimized model, and compares its outputs.

    Args:
        pair: the two models.
        state: takes the reports.
        feeds: what the original ran on.
        expected: its outputs.
    """
    actual = _run_optimized(pair, state, feeds)
    truth = _truth(pair, state, feeds) if not state.runs else None
    for name in expected:
        if name in actual:
            truth = _compare_output(pair, state, name, (expected[name], actual[name]), truth, feeds)


def compare_sure(pair: Pair, state: State, feeds: Feeds, moved: Feeds) -> None:
    """Runs both models, and compares what the original is sure of.

    Args:
        pair: the two models.
        state: takes the reports.
        feeds: what to run on.
        moved: the same, but for the last bits of some numbers.

    Raises:
        RunError: the original does not run on them.
    """
    expected = pair.original.run(feeds.full)
    actual = _run_optimized(pair, state, feeds)
    again: Mapping[str, Array] | None = None
    for name, array in expected.items():
        if name not in actual or array.dtype.kind not in "biuf":
            continue
        dtype, axis = pair.dtypes.get(name), state.axes.get(name, 0)
        found = compare_arrays(array, actual[name], pair.tolerance, None, dtype, axis=axis)
        if found.mismatch and found.difference is not None:
            again = again if again is not None else pair.original.run(moved.full)
            truth = (_truth(pair, state, feeds) or {}).get(name, array)
            sure = sure_entries(array, (again[name], truth), pair.tolerance.for_dtype(dtype or 0), axis)
            known, truth = (np.where(sure, other, array) for other in (actual[name], truth))
            noise = _noise(pair, state).get(name, 0.0)
            found = compare_arrays(array, known, pair.tolerance, truth, dtype, noise, axis)
        state.reports[name] = state.reports[name].with_run(found, feeds.place)


def _run_optimized(pair: Pair, state: State, feeds: Feeds) -> Mapping[str, Array]:
    """The outputs; none where it does not run, which is reported."""
    if pair.signature.problem:
        return {}
    try:
        return pair.optimized.run(pair.signature.feeds(feeds.full, feeds.single))
    except RunError as error:
        for name, report in state.reports.items():
            state.reports[name] = report.failed(f"the optimized model does not run: {error}", feeds.place)
        return {}


def _compare_output(
    pair: Pair, state: State, name: str, arrays: tuple[Array, Array], truth: dict[str, Array] | None, feeds: Feeds
) -> dict[str, Array] | None:
    """Compares one output; float64 is consulted when the plain tolerance fails. Returns the float64 run, if made."""
    dtype, where = pair.dtypes.get(name), feeds.place
    axis = state.axes.get(name, 0)
    found = compare_arrays(*arrays, pair.tolerance, (truth or {}).get(name), dtype, axis=axis)
    if found.mismatch and truth is None and arrays[0].dtype.kind == "f":
        truth = _truth(pair, state, feeds) or {}
    kept = ranking_kept(*arrays, pair.tolerance.for_dtype(dtype or 0), axis)
    if found.mismatch and truth and name in truth:
        near = compare_arrays(*arrays, pair.tolerance, truth[name], dtype, _noise(pair, state).get(name, 0.0), axis)
        # Rounding excuses other scores, but not another order of the candidates.
        found = replace(near, mismatch=f"{found.mismatch}; candidates change places") if kept is False else near
    state.reports[name] = state.reports[name].with_run(found, where).with_numbers(arrays[0])
    if found.all_nan:
        state.note(f"output {name} is NaN everywhere in the original at {where}, so nothing was compared there")
    elif found.has_nan:
        state.note(f"output {name} has NaN in the original; NaN compared as equal")
    if kept is not None:
        state.ranking = kept and state.ranking is not False
    return truth


def compare_choices(pair: Pair, state: State) -> None:
    """One more run of what differs, on enough candidates to see whether rounding decides it in the original, too.

    Args:
        pair: the two models.
        state: takes the reports.
    """
    feeds = state.plan.draw(state.plan.inputs.fixed_batch or NOISE_BATCH, 0, state.caution)
    with contextlib.suppress(RunError):
        expected, truth = pair.original.run(feeds.full), _truth(pair, state, feeds)
        actual = {} if pair.signature.problem else pair.optimized.run(pair.signature.feeds(feeds.full, feeds.single))
        if truth is None:
            state.reports.update(beside_nudged(state.reports, expected, run_nudged(pair.source, feeds.full)))
        state.reports.update(beside_float64(state.reports, expected, actual, truth or {}))


def _truth(pair: Pair, state: State, feeds: Feeds) -> dict[str, Array] | None:
    """The original in float64 on these feeds; it is built when first asked for."""
    if not state.reference_tried:
        state.reference_tried = True
        state.reference, reason = build_reference(pair.source, feeds.full)
        state.note(reason)
    return state.reference.run(feeds.full) if state.reference is not None else None


def _noise(pair: Pair, state: State) -> Mapping[str, float]:
    """The original's own error against float64, per output, on enough candidates to be no luck; made once."""
    if state.noise is None:
        state.noise = {}
        feeds = state.plan.draw(state.plan.inputs.fixed_batch or NOISE_BATCH, 0, state.caution)
        with contextlib.suppress(RunError):
            expected, truth = pair.original.run(feeds.full), _truth(pair, state, feeds) or {}
            state.noise = {
                name: noise_level(
                    array, truth[name], pair.tolerance.for_dtype(pair.dtypes.get(name, 0)), state.axes.get(name, 0)
                )
                for name, array in expected.items()
                if name in truth
            }
    return state.noise
