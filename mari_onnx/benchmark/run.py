"""Making the models, drawing requests, and having them measured in processes of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from mari_onnx.benchmark import providers
from mari_onnx.benchmark.job import Entrant, Job, Store
from mari_onnx.benchmark.process import measure
from mari_onnx.benchmark.report import FLOOR, VANILLA, BenchReport, Timed, summarise
from mari_onnx.benchmark.sides import Contest, Request, Requests, floor_of, given_sides, optimized_sides, with_floor
from mari_onnx.checks import check_numbers, check_tolerance
from mari_onnx.errors import ModelError, UsageError
from mari_onnx.load import Loaded, ModelLike
from mari_onnx.options import options_from
from mari_onnx.pipeline import Progress
from mari_onnx.verification.source import Array

CANDIDATES = (1, 8, 64, 512, 4096)
SECONDS = 2.0


def bench(
    model: ModelLike,
    result: ModelLike | None = None,
    user_inputs: Sequence[str] | None = None,
    *,
    candidates: Sequence[int] = CANDIDATES,
    threads: Sequence[int] = (1,),
    provider: str = "cpu",
    seconds: float = SECONDS,
    progress: Progress | None = None,
    optimize_for: int | None = None,
    **options: Any,
) -> BenchReport:
    """Times a model as exported against what it becomes, and against what is left when the user's side costs nothing.

    ONNX Runtime's own optimizations are on for all sides, which run in turn in one process for each number of
    candidates and threads.

    Args:
        model: A path, or a model; never changed.
        result: What to compare with. ``None``: the model hoisted only (the user's own layers run once, and nothing
            is split), and optimized.
        user_inputs: As in :func:`mari_onnx.optimize`.
        candidates: Numbers of candidates per request; a model with a fixed batch gets that one.
        threads: Numbers of threads.
        provider: Execution provider of ONNX Runtime: its name, or the part of it before ``ExecutionProvider``.
        seconds: How long to measure at each number of candidates and threads, at least three turns.
        progress: Told the stage.
        optimize_for: Nominal number of candidates to optimize for; as in :func:`mari_onnx.optimize`.
        options: Other fields of :class:`mari_onnx.Options`.

    Returns:
        The times.

    Raises:
        MariError: Nothing can be measured; see :mod:`mari_onnx.errors`.
    """
    settings = make_settings(candidates, threads, provider, seconds, progress)
    chosen = options_from(bench, {"user_inputs": user_inputs, **options})
    if optimize_for is not None:
        chosen = replace(chosen, candidates=optimize_for)
    if result is None:
        contest = optimized_sides(model, chosen, settings.tell)
    else:
        contest = given_sides(model, result, chosen, settings.tell)
    return compare(contest, settings, chosen.samples)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        candidates: Numbers of candidates per request.
        threads: Numbers of threads.
        provider: Full name of the execution provider.
        seconds: How long for each number of candidates and threads.
        tell: Told the progress.
    """

    candidates: tuple[int, ...]
    threads: tuple[int, ...]
    provider: str
    seconds: float
    tell: Progress


def make_settings(
    candidates: Sequence[int], threads: Sequence[int], provider: str, seconds: float, progress: Progress | None = None
) -> Settings:
    """Checks how to measure.

    Raises:
        UsageError: It makes no sense, or there is no such execution provider.
    """
    check_numbers("candidates", candidates)
    check_numbers("threads", threads)
    check_tolerance("seconds", seconds)
    if not len(candidates) or not len(threads) or not seconds:
        raise UsageError("a benchmark needs at least one candidate, one thread and some seconds")
    name = providers.full_name(provider)
    tell = progress or (lambda stage: None)
    return Settings(tuple(dict.fromkeys(candidates)), tuple(dict.fromkeys(threads)), name, seconds, tell)


def compare(contest: Contest, settings: Settings, samples: Mapping[str, Array] | None = None) -> BenchReport:
    """Times all models of a contest.

    Args:
        contest: The models.
        settings: How.
        samples: Inputs of the original to take instead of random ones.

    Raises:
        MariError: Nothing can be measured.
    """
    requests = Requests(contest, samples)
    notes = list(contest.notes)
    sizes = settings.candidates
    if requests.fixed is not None:
        if sizes != (requests.fixed,):
            notes.append(f"the original has a fixed batch of {requests.fixed}, so only that one was run")
        sizes = (requests.fixed,)
    if requests.unfrozen:
        notes.append(f"no floor: there are columns of user and items in {', '.join(requests.unfrozen)}")
    measured: list[Timed] = []
    for size in sizes:
        measured += _measured(contest, requests, size, notes, settings)
    if not measured:
        raise ModelError(f"nothing could be measured: {notes[-1]}")
    measured.sort(key=lambda one: (settings.threads.index(one.threads), sizes.index(one.candidates)))
    short = providers.short_name(settings.provider)
    ran = {one.side for one in measured}
    sides = tuple(side for side in (VANILLA, *contest.models, FLOOR) if side in ran)
    return BenchReport(
        short, providers.machine(short), contest.users, sides, tuple(measured), tuple(dict.fromkeys(notes))
    )


def _measured(contest: Contest, requests: Requests, size: int, notes: list[str], settings: Settings) -> Iterator[Timed]:
    """The times at one number of candidates; what is in the way is noted."""
    settings.tell(f"bench: {size} candidates")
    try:
        request = requests.draw(size)
    except ModelError as error:
        notes.append(f"{size} candidates were left out: {error}")
        return
    floor = None
    if not requests.unfrozen:
        try:
            floor = floor_of(contest, request)
        except ModelError as error:
            notes.append(f"no floor at {size} candidates: {error}")
    with tempfile.TemporaryDirectory(prefix="mari-onnx-") as name:
        folder = Path(name)
        store = Store()
        entrants = list(_entrants(contest, request, floor, store, folder))
        store.write(folder)
        for number in settings.threads:
            settings.tell(f"bench: {size} candidates, {number} threads")
            job = Job(entrants, store.types, number, settings.provider, settings.seconds)
            times, refused = measure(job, folder)
            notes += [f"{side} was left out at {size} candidates: {why}" for side, why in refused.items()]
            if VANILLA in times:
                yield from summarise(times, size, number)


def _entrants(
    contest: Contest, request: Request, floor: onnx.ModelProto | None, store: Store, folder: Path
) -> Iterator[Entrant]:
    models = {VANILLA: contest.original, **contest.models}
    if floor is not None:
        models[FLOOR] = replace(contest.best, model=floor)
    for side, feeds in with_floor(contest, request).items():
        if side in models:
            path = _write(models[side], folder / f"{side}.onnx")
            weights = models[side].folder
            keys = {name: store.put(array) for name, array in feeds.items()}
            yield Entrant(side, str(path), str(weights) if weights is not None else None, keys)


def _write(loaded: Loaded, path: Path) -> Path:
    try:
        path.write_bytes(loaded.model.SerializeToString())
    except ValueError:  # protobuf's limit
        raise ModelError("a model of more than 2 GiB cannot be timed; keep its weights in a data file") from None
    return path
