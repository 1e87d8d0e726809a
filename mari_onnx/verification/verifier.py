"""The comparison of an original model with an optimized one, over batches and seeds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mari_onnx.checks import check_number, check_numbers, check_samples, check_tolerance
from mari_onnx.errors import ModelError, UsageError
from mari_onnx.verification.burnt import WrittenRows
from mari_onnx.verification.choices import beside_float64
from mari_onnx.verification.compare import Tolerance, all_nan, compare_arrays, noise_level, ranking_kept
from mari_onnx.verification.draws import Caution
from mari_onnx.verification.feeds import OPEN_SIZE, FeedPlan, Feeds, Lengths, plan_feeds
from mari_onnx.verification.layouts import candidate_axes
from mari_onnx.verification.nudged import beside_nudged, run_nudged
from mari_onnx.verification.order import check_order, doubt
from mari_onnx.verification.reference import Float64Reference, build_reference
from mari_onnx.verification.report import OutputReport, VerifyReport
from mari_onnx.verification.sessions import RunError, Session, open_session
from mari_onnx.verification.signature import Inputs, Signature, match_signatures, original_inputs, stated_axes
from mari_onnx.verification.source import Array, ModelLike, ModelSource, computed_types, open_source

NONE_DRAWN = "it runs on none of the drawn inputs; give samples"
OTHER_OPEN_SIZES = (1, 16)  # tried when the original rejects everything at the first size
NOISE_BATCH = 64
SHORT_OPEN_SIZES = (1, 2)  # histories shorter than anything that is cut off or counted
FURTHER_BATCH = 7  # the most candidates of runs beside those asked for
Progress = Callable[[str], None]


class UnusableResultError(ModelError):
    """ONNX Runtime loads the original, but not the optimized model."""


@dataclass
class _State:
    """What changes from run to run."""

    reports: dict[str, OutputReport]
    plan: FeedPlan
    written: WrittenRows
    caution: Caution = Caution.NORMAL
    ranking: bool | None = None
    runs: int = 0
    batches: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    reference: Float64Reference | None = None
    reference_tried: bool = False
    noise: Mapping[str, float] | None = None
    axes: Mapping[str, int] = field(default_factory=dict)

    def note(self, sentence: str) -> None:
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)


@dataclass(frozen=True)
class _Pair:
    """Two models, ready to run."""

    original: Session
    optimized: Session
    source: ModelSource
    signature: Signature
    tolerance: Tolerance
    dtypes: Mapping[str, int]


def verify(
    original: ModelLike,
    optimized: ModelLike,
    *,
    user_inputs: Sequence[str] | None = None,
    batches: Sequence[int] = (1, 2, 7, 64),
    seeds: int = 2,
    samples: Mapping[str, Array] | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Feeds the original with the user's row repeated and the optimized model with one row, and compares the outputs.

    Args:
        original: the model as exported, or its path (needed for external data).
        optimized: the rewritten model, or its path.
        user_inputs: specs such as ``user_id`` or ``X[:, 0:12,20]``; None reads them from the optimized model.
        batches: numbers of candidates; a model with a fixed batch is run at that one only.
        seeds: number of draws per batch.
        samples: the caller's own inputs by name, rows along the candidate axis; the rest is drawn.
        rtol: tolerance relative to the magnitude of a column of scores.
        atol: absolute tolerance.
        folder: where the external data of an optimized model in memory lies.
        progress: called with a line before each run.

    Returns:
        The report; a difference is reported there and never raised.

    Raises:
        ModelError: a model cannot be read or loaded, or the original runs on nothing that can be drawn.
        UsageError: a user input, batch or sample does not fit the original, or that is the second model.
    """
    check_number("seeds", seeds)
    check_numbers("batches", batches)
    check_samples(samples)
    check_tolerance("rtol", rtol)
    check_tolerance("atol", atol)
    if not len(batches):
        raise UsageError("verification needs at least one batch")
    source, other = open_source(original, "original model"), open_source(optimized, "optimized model", folder)
    check_order(source, other)
    inputs = original_inputs(source, stated_axes(other, source))
    signature = match_signatures(inputs, other, user_inputs)
    pair = _Pair(
        _opened(source, ModelError, "; without verification (--no-verify) that is not needed"),
        _opened(other, UnusableResultError),
        source,
        signature,
        Tolerance(rtol, atol),
        computed_types(source),
    )
    plan = plan_feeds(source, inputs, signature.user_inputs, samples)
    plan = replace(plan, one_user_row=signature.given_once)
    state = _State({name: OutputReport(name) for name in pair.original.outputs}, plan, WrittenRows(source))
    _check_signatures(pair, state, inputs)
    for name in plan.uneven_samples():
        state.note(f"the samples of {name} differ between rows, though it is the user's: each run took one of them")
    state.axes = candidate_axes(lambda batch: _run_original(pair, state, batch, 0)[1], inputs.fixed_batch)
    for batch in _usable_batches(inputs, batches, state):
        _run_batch(pair, state, batch, seeds, progress or (lambda _: None))
    if not state.runs:
        raise ModelError(f"original model: {_why_not(pair, state)} ({state.failure})")
    advice = state.written.advice(f"not with {', '.join(str(b) for b in batches if b not in state.batches)}")
    state.note(advice and f"original model: {advice}")
    if inputs.free_symbols:
        _run_short(pair, state, seeds)
    if len(inputs.open_dims) > 1:
        _run_uneven(pair, state, seeds)
    if signature.given_once and state.plan.one_user_row:
        _run_repeated(pair, state, seeds)
    for report in state.reports.values():
        state.note(report.drift)
        state.note(report.sameness)
    passed = all(report.mismatch is None for report in state.reports.values())
    if not passed:
        _compare_choices(pair, state)
        state.note(doubt(source, other))
    reports = tuple(state.reports.values())
    return VerifyReport(passed, reports, state.ranking, tuple(state.batches), seeds, state.runs, tuple(state.notes))


def _opened(source: ModelSource, unusable: type[ModelError], advice: str = "") -> Session:
    try:
        return open_session(source)
    except ModelError as error:
        raise unusable(f"{error}{advice}") from error


def _check_signatures(pair: _Pair, state: _State, inputs: Inputs) -> None:
    if pair.signature.problem:
        for name, report in state.reports.items():
            state.reports[name] = report.failed(pair.signature.problem, "signature")
    for name in pair.original.outputs:
        if name not in pair.optimized.outputs:
            state.reports[name] = state.reports[name].failed("the optimized model lacks this output", "signature")
    stacked = {entry.name for entry in pair.signature.stacked}
    for name in inputs.names:
        if name not in pair.signature.expected and name not in stacked:
            state.note(f"input {name} is not read by the optimized model")
    for name in pair.optimized.outputs:
        if name not in pair.original.outputs:
            state.note(f"output {name} exists in the optimized model only and was not compared")
    if not pair.signature.user_inputs:
        state.note("no user inputs are known, so both models got the same inputs")
    for symbol in inputs.free_symbols:
        label = "unnamed open dimensions were" if symbol == "?" else f"dimension {symbol} was"
        state.note(f"{label} set to {OPEN_SIZE}")


def _usable_batches(inputs: Inputs, batches: Sequence[int], state: _State) -> tuple[int, ...]:
    wanted = tuple(dict.fromkeys(batches))
    if inputs.fixed_batch is None:
        return wanted
    if wanted != (inputs.fixed_batch,):
        state.note(f"the original has a fixed batch of {inputs.fixed_batch}, so only that one was run")
    return (inputs.fixed_batch,)


def _run_batch(pair: _Pair, state: _State, batch: int, seeds: int, progress: Progress) -> None:
    for seed in range(seeds):
        progress(f"batch {batch}, seed {seed}")
        feeds, expected, failure = _run_original(pair, state, batch, seed)
        if feeds is None:
            state.failure = state.failure or failure
            state.note(f"batch {batch} was skipped: the original fails there: {failure}")
            return
        if batch not in state.batches:
            state.batches.append(batch)
        _compare_run(pair, state, feeds, expected)
        state.runs += 1


def _run_original(pair: _Pair, state: _State, batch: int, seed: int) -> tuple[Feeds | None, dict[str, Array], str]:
    """Runs the original on the boldest draw that it accepts; what worked is kept for the runs to come."""
    failure = ""
    fallback: tuple[Feeds, dict[str, Array]] | None = None
    for plan, caution in _attempts(pair, state, batch):
        feeds = plan.draw(batch, seed, caution)
        try:
            expected = pair.original.run(feeds.full)
        except RunError as error:
            failure = failure or str(error)
            continue
        if all_nan(expected) and caution < Caution.POSITIVE:
            fallback = fallback or (feeds, expected)
            continue
        if all_nan(expected) and fallback is not None:
            break
        _keep(state, plan, caution)
        return feeds, expected, ""
    return (*fallback, "") if fallback is not None else (None, {}, failure)


def _why_not(pair: _Pair, state: _State) -> str:
    """What to do about an original that has not run."""
    _has_written_rows(pair, state)
    advice = state.written.advice("with none of the numbers asked for")
    return advice or ("it does not run on the samples" if state.plan.samples else NONE_DRAWN)


def _has_written_rows(pair: _Pair, state: _State) -> bool:
    def runs(rows: int) -> bool:
        with contextlib.suppress(RunError):
            return bool(pair.original.run(state.plan.draw(rows, 0, state.caution).full))
        return False

    return state.plan.inputs.fixed_batch is None and state.written.found(runs)


def _attempts(pair: _Pair, state: _State, batch: int) -> Iterator[tuple[FeedPlan, Caution]]:
    for caution in Caution:
        if caution >= state.caution:
            yield state.plan, caution
    # A graph with rows of a trace takes one row of the user's by broadcasting, and makes something else of it.
    if batch > 1 and (state.plan.one_user_row or not _has_written_rows(pair, state)):
        yield replace(state.plan, one_user_row=not state.plan.one_user_row), state.caution
    if not state.runs and state.plan.inputs.free_symbols:
        for size in OTHER_OPEN_SIZES:
            other = plan_feeds(pair.source, state.plan.inputs, state.plan.user_inputs, state.plan.samples, size)
            yield other, Caution.NORMAL


def _keep(state: _State, plan: FeedPlan, caution: Caution) -> None:
    if plan.one_user_row and not state.plan.one_user_row:
        state.note("the original takes one row of the user inputs, so it was not fed with repeated ones")
    if plan.open_size != state.plan.open_size:
        state.notes[:] = [note.replace(f"set to {OPEN_SIZE}", f"set to {plan.open_size}") for note in state.notes]
    state.plan, state.caution = plan, caution
    state.note(caution.sentence)


def _run_uneven(pair: _Pair, state: _State, seed: int) -> None:
    """One more run, where open dimensions have sizes of their own: the boldest that the original accepts.

    Exporters' scripts give one name to dimensions that need not be the same, and ONNX Runtime does not mind.
    """
    any(_run_at(pair, state, seed, state.plan.open_size, lengths) for lengths in (Lengths.FREE, Lengths.NAMED))


def _run_short(pair: _Pair, state: _State, seed: int) -> None:
    """Further runs, where open dimensions are as small as the original accepts."""
    for size in SHORT_OPEN_SIZES:
        if size != state.plan.open_size:
            _run_at(pair, state, seed, size, Lengths.EQUAL)


def _run_at(pair: _Pair, state: _State, seed: int, open_size: int, lengths: Lengths) -> bool:
    """One more run with open dimensions of other sizes; whether the original takes them."""
    drawn = state.plan
    plan = plan_feeds(pair.source, drawn.inputs, drawn.user_inputs, drawn.samples, open_size, lengths)
    feeds = replace(plan, one_user_row=drawn.one_user_row).draw(_few(state), seed, state.caution)
    try:
        expected = pair.original.run(feeds.full)
    except RunError:
        return False
    _compare_run(pair, state, feeds, expected)
    state.runs += 1
    return True


def _run_repeated(pair: _Pair, state: _State, seed: int) -> None:
    """One more run, with the user's row repeated, where the original takes that as well and makes no more of it."""
    try:
        once = pair.original.run(state.plan.draw(_few(state), seed, state.caution).full)
        feeds = replace(state.plan, one_user_row=False).draw(_few(state), seed, state.caution)
        expected = pair.original.run(feeds.full)
    except RunError:
        return
    if all(expected[name].shape == array.shape for name, array in once.items()):
        _compare_run(pair, state, feeds, expected)
        state.runs += 1


def _few(state: _State) -> int:
    """The number of candidates of a further run."""
    return max((b for b in state.batches if b <= FURTHER_BATCH), default=min(state.batches))


def _compare_run(pair: _Pair, state: _State, feeds: Feeds, expected: Mapping[str, Array]) -> None:
    where = _place(feeds)
    if pair.signature.problem:
        return
    try:
        actual = pair.optimized.run(pair.signature.feeds(feeds.full, feeds.single))
    except RunError as error:
        for name, report in state.reports.items():
            state.reports[name] = report.failed(f"the optimized model does not run: {error}", where)
        return
    truth = _truth(pair, state, feeds) if not state.runs else None
    for name in expected:
        if name in actual:
            truth = _compare_output(pair, state, name, (expected[name], actual[name]), truth, feeds)


def _place(feeds: Feeds) -> str:
    """How reports call a run."""
    uneven = {
        Lengths.EQUAL: "",
        Lengths.NAMED: ", with another size for each open dimension",
        Lengths.FREE: ", with another size for each open dimension, also for those of one name",
    }
    short = f", with open dimensions of size {feeds.open_size}" if feeds.open_size in SHORT_OPEN_SIZES else ""
    return f"batch {feeds.batch}, seed {feeds.seed}{uneven[feeds.lengths]}{short}"


def _compare_output(
    pair: _Pair, state: _State, name: str, arrays: tuple[Array, Array], truth: dict[str, Array] | None, feeds: Feeds
) -> dict[str, Array] | None:
    """Compares one output; float64 is consulted when the plain tolerance fails. Returns the float64 run, if made."""
    dtype, where = pair.dtypes.get(name), _place(feeds)
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


def _compare_choices(pair: _Pair, state: _State) -> None:
    """One more run of what differs, on enough candidates to see whether rounding decides it in the original, too."""
    feeds = state.plan.draw(state.plan.inputs.fixed_batch or NOISE_BATCH, 0, state.caution)
    with contextlib.suppress(RunError):
        expected, truth = pair.original.run(feeds.full), _truth(pair, state, feeds)
        actual = {} if pair.signature.problem else pair.optimized.run(pair.signature.feeds(feeds.full, feeds.single))
        if truth is None:
            state.reports.update(beside_nudged(state.reports, expected, run_nudged(pair.source, feeds.full)))
        state.reports.update(beside_float64(state.reports, expected, actual, truth or {}))


def _truth(pair: _Pair, state: _State, feeds: Feeds) -> dict[str, Array] | None:
    """The original in float64 on these feeds; it is built when first asked for."""
    if not state.reference_tried:
        state.reference_tried = True
        state.reference, reason = build_reference(pair.source, feeds.full)
        state.note(reason)
    return state.reference.run(feeds.full) if state.reference is not None else None


def _noise(pair: _Pair, state: _State) -> Mapping[str, float]:
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
