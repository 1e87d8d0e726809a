"""The comparison of an original model with an optimized one, over batches and seeds."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mari_onnx.affordable import spoken
from mari_onnx.checks import check_number, check_numbers, check_samples, check_tolerance
from mari_onnx.errors import ModelError, UsageError
from mari_onnx.verification.burnt import WrittenRows
from mari_onnx.verification.compare import Tolerance, all_nan
from mari_onnx.verification.comparing import Pair, State, compare_choices, compare_run, compare_sure
from mari_onnx.verification.drawn import settled
from mari_onnx.verification.draws import Caution
from mari_onnx.verification.feeds import OPEN_SIZE, SHORT_OPEN_SIZES, FeedPlan, Feeds, Lengths, plan_feeds
from mari_onnx.verification.layouts import candidate_axes
from mari_onnx.verification.order import check_order, doubt
from mari_onnx.verification.report import OutputReport, VerifyReport
from mari_onnx.verification.restless import restless
from mari_onnx.verification.sessions import RunError, Session, open_session
from mari_onnx.verification.signature import Inputs, match_signatures, original_inputs, stated_axes
from mari_onnx.verification.source import Array, ModelLike, ModelSource, computed_types, open_source
from mari_onnx.verification.zeros import NOISE, SHARE, has_free_floats

NONE_DRAWN = "it runs on none of the drawn inputs; give samples"
ALIKE = (
    "it runs on none of the drawn inputs, and fails in the same way whatever their values and sizes are:"
    " this version of ONNX Runtime may be unable to run it at all, and another opset may help;"
    " if it does run, give samples"
)
OTHER_OPEN_SIZES = (1, 16)  # tried when the original rejects everything at the first size
BATCHES = (1, 2, 7, 64)
LONGEST_RUN = 30.0
"""Seconds; of the batches above, those at which a run of the original would take longer are left out."""
FURTHER_BATCH = 7  # the most candidates of runs beside those asked for
ZEROS_BATCH = 64  # and of the one with zeros, which need rows to be among
Progress = Callable[[str], None]


class UnusableResultError(ModelError):
    """ONNX Runtime loads the original, but not the optimized model."""


def verify(
    original: ModelLike,
    optimized: ModelLike,
    *,
    user_inputs: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
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
        batches: numbers of candidates; a model with a fixed batch is run at that one only. None for 1, 2, 7 and 64, as
            far as runs of the original take no longer than `LONGEST_RUN`.
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
    wanted, longest = (BATCHES, LONGEST_RUN) if batches is None else (batches, math.inf)
    check_numbers("batches", wanted)
    check_samples(samples)
    check_tolerance("rtol", rtol)
    check_tolerance("atol", atol)
    if not len(wanted):
        raise UsageError("verification needs at least one batch")
    source, other = open_source(original, "original model"), open_source(optimized, "optimized model", folder)
    check_order(source, other)
    inputs = original_inputs(source, stated_axes(other, source))
    signature = match_signatures(inputs, other, user_inputs)
    fixed, other_fixed = settled(source), settled(other)
    pair = Pair(
        _opened(fixed.source, ModelError, "; without verification (--no-verify) that is not needed"),
        _opened(other_fixed.source, UnusableResultError),
        fixed.source,
        signature,
        Tolerance(rtol, atol),
        computed_types(source),
    )
    plan = plan_feeds(source, inputs, signature.user_inputs, samples)
    plan = replace(plan, one_user_row=signature.given_once)
    state = State({name: OutputReport(name) for name in pair.original.outputs}, plan, WrittenRows(source))
    state.note(fixed.note)
    _check_signatures(pair, state, inputs)
    for name in plan.uneven_samples():
        state.note(f"the samples of {name} differ between rows, though it is the user's: each run took one of them")
    state.axes = candidate_axes(lambda batch: _run_original(pair, state, batch, 0)[1], inputs.fixed_batch)
    for batch in _usable_batches(inputs, wanted, state):
        if state.runs and state.pace * batch > longest:
            state.note(
                f"batch {batch} was left out, where one run of the original takes about {spoken(state.pace * batch)}"
            )
        else:
            _run_batch(pair, state, batch, seeds, progress or (lambda _: None))
    if not state.runs:
        raise ModelError(f"original model: {_why_not(pair, state)} ({state.failure})")
    refused = ", ".join(str(b) for b in wanted if b not in state.batches and state.pace * b <= longest)
    # A number that stood in the way of one draw may have been chance: another draw ran with all that were asked for.
    advice = state.written.advice(f"not with {refused}") if refused else ""
    state.note(advice and f"original model: {advice}")
    _run_with_zeros(pair, state, seeds)
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
    unsteady = "" if passed else restless(pair, state)
    if not passed:
        compare_choices(pair, state)
        state.note(unsteady or doubt(source, other))
    reports, runs = tuple(state.reports.values()), tuple(state.batches)
    return VerifyReport(passed, reports, state.ranking, runs, seeds, state.runs, tuple(state.notes), unsteady)


def _opened(source: ModelSource, unusable: type[ModelError], advice: str = "") -> Session:
    try:
        return open_session(source)
    except ModelError as error:
        raise unusable(f"{error}{advice}") from error


def _check_signatures(pair: Pair, state: State, inputs: Inputs) -> None:
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


def _usable_batches(inputs: Inputs, batches: Sequence[int], state: State) -> tuple[int, ...]:
    wanted = tuple(dict.fromkeys(batches))
    if inputs.fixed_batch is None:
        return wanted
    if wanted != (inputs.fixed_batch,):
        state.note(f"the original has a fixed batch of {inputs.fixed_batch}, so only that one was run")
    return (inputs.fixed_batch,)


def _run_batch(pair: Pair, state: State, batch: int, seeds: int, progress: Progress) -> None:
    for seed in range(seeds):
        progress(f"batch {batch}, seed {seed}")
        feeds, expected, failure = _run_original(pair, state, batch, seed)
        if feeds is None:
            state.failure = state.failure or failure
            state.note(f"batch {batch} was skipped: the original fails there: {failure}")
            return
        if batch not in state.batches:
            state.batches.append(batch)
        compare_run(pair, state, feeds, expected)
        state.runs += 1


def _run_original(pair: Pair, state: State, batch: int, seed: int) -> tuple[Feeds | None, dict[str, Array], str]:
    """Runs the original on the boldest draw that it accepts; what worked is kept for the runs to come."""
    failure = ""
    fallback: tuple[Feeds, dict[str, Array]] | None = None
    for plan, caution in _attempts(pair, state, batch):
        feeds = plan.draw(batch, seed, caution)
        start = time.perf_counter()
        try:
            expected = pair.original.run(feeds.full)
        except RunError as error:
            failure = failure or str(error)
            if plan is state.plan:
                state.refusals.append(str(error))
            continue
        state.pace = (time.perf_counter() - start) / batch
        if all_nan(expected) and caution < Caution.POSITIVE:
            fallback = fallback or (feeds, expected)
            continue
        if all_nan(expected) and fallback is not None:
            break
        _keep(state, plan, caution)
        return feeds, expected, ""
    return (*fallback, "") if fallback is not None else (None, {}, failure)


def _why_not(pair: Pair, state: State) -> str:
    """What to do about an original that has not run."""
    _has_written_rows(pair, state)
    advice = state.written.advice("with none of the numbers asked for")
    if advice or state.plan.samples:
        return advice or "it does not run on the samples"
    return ALIKE if len(state.refusals) > 1 and len(set(state.refusals)) == 1 else NONE_DRAWN


def _has_written_rows(pair: Pair, state: State) -> bool:
    def runs(rows: int) -> bool:
        with contextlib.suppress(RunError):
            return bool(pair.original.run(state.plan.draw(rows, 0, state.caution).full))
        return False

    return state.plan.inputs.fixed_batch is None and state.written.found(runs)


def _attempts(pair: Pair, state: State, batch: int) -> Iterator[tuple[FeedPlan, Caution]]:
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


def _keep(state: State, plan: FeedPlan, caution: Caution) -> None:
    if plan.one_user_row and not state.plan.one_user_row:
        state.note("the original takes one row of the user inputs, so it was not fed with repeated ones")
    if plan.open_size != state.plan.open_size:
        state.notes[:] = [note.replace(f"set to {OPEN_SIZE}", f"set to {plan.open_size}") for note in state.notes]
    state.plan, state.caution = plan, caution
    state.note(caution.sentence)


def _run_uneven(pair: Pair, state: State, seed: int) -> None:
    """One more run, where open dimensions have sizes of their own: the boldest that the original accepts.

    Exporters' scripts give one name to dimensions that need not be the same, and ONNX Runtime does not mind.
    """
    any(_run_at(pair, state, seed, state.plan.open_size, lengths) for lengths in (Lengths.FREE, Lengths.NAMED))


def _run_short(pair: Pair, state: State, seed: int) -> None:
    """Further runs, where open dimensions are as small as the original accepts."""
    for size in SHORT_OPEN_SIZES:
        if size != state.plan.open_size:
            _run_at(pair, state, seed, size, Lengths.EQUAL)


def _run_at(pair: Pair, state: State, seed: int, open_size: int, lengths: Lengths) -> bool:
    """One more run with open dimensions of other sizes; whether the original takes them."""
    drawn = state.plan
    plan = plan_feeds(pair.source, drawn.inputs, drawn.user_inputs, drawn.samples, open_size, lengths)
    feeds = replace(plan, one_user_row=drawn.one_user_row).draw(_few(state), seed, state.caution)
    try:
        expected = pair.original.run(feeds.full)
    except RunError:
        return False
    compare_run(pair, state, feeds, expected)
    state.runs += 1
    return True


def _run_repeated(pair: Pair, state: State, seed: int) -> None:
    """One more run, with the user's row repeated, where the original takes that as well and makes no more of it."""
    try:
        once = pair.original.run(state.plan.draw(_few(state), seed, state.caution).full)
        feeds = replace(state.plan, one_user_row=False).draw(_few(state), seed, state.caution)
        expected = pair.original.run(feeds.full)
    except RunError:
        return
    if all(expected[name].shape == array.shape for name, array in once.items()):
        compare_run(pair, state, feeds, expected)
        state.runs += 1


def _run_with_zeros(pair: Pair, state: State, seed: int) -> None:
    """One more run, with zeros among the floats, where there are any."""
    plan, batch = replace(state.plan, zeros=SHARE), _few(state, ZEROS_BATCH)
    feeds = plan.draw(batch, seed, state.caution)
    if has_free_floats(feeds.full, plan.ranges):
        with contextlib.suppress(RunError):
            compare_sure(pair, state, feeds, replace(plan, noise=NOISE).draw(batch, seed, state.caution))
            state.runs += 1


def _few(state: State, most: int = FURTHER_BATCH) -> int:
    """The number of candidates of a further run."""
    return max((b for b in state.batches if b <= most), default=min(state.batches))
