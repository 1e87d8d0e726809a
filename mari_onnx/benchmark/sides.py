"""The models that take part, and the inputs of a request for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from mari_onnx.benchmark.floor import freeze
from mari_onnx.benchmark.report import FLOOR, FULL, ONE_SHOT, RESULT, VANILLA
from mari_onnx.errors import ModelError, VerificationError
from mari_onnx.inputs import choose_inputs
from mari_onnx.ir import read_graph
from mari_onnx.load import Loaded, ModelLike, load_model
from mari_onnx.normalise import normalise
from mari_onnx.options import Options
from mari_onnx.pipeline import Progress
from mari_onnx.pipeline import run as optimize
from mari_onnx.rewrite.registry import all_rules
from mari_onnx.verification import (
    FeedPlan,
    RunError,
    Session,
    Signature,
    match_signatures,
    open_session,
    open_source,
    original_inputs,
    plan_feeds,
    stated_axes,
    verify,
)
from mari_onnx.verification.draws import Caution
from mari_onnx.verification.feeds import OPEN_SIZE
from mari_onnx.verification.source import Array
from mari_onnx.verification.verifier import OTHER_OPEN_SIZES

SEED = 0


@dataclass(frozen=True)
class Contest:
    """The models without the floor, which depends on the request.

    Attributes:
        original: The model as exported.
        models: The others, by side.
        side: The one of them that the floor is made of.
        users: What to type to choose the user-side inputs.
        notes: Sentences for the user.
    """

    original: Loaded
    models: Mapping[str, Loaded]
    side: str
    users: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Loaded:
        """What the floor is made of."""
        return self.models[self.side]


@dataclass(frozen=True)
class Request:
    """Inputs for one number of candidates.

    Attributes:
        candidates: How many.
        feeds: By side, the inputs by name.
        frozen: What of them is the user's, for the model that the floor is made of.
    """

    candidates: int
    feeds: Mapping[str, Mapping[str, Array]]
    frozen: Mapping[str, Array]


def optimized_sides(model: ModelLike, options: Options, tell: Progress) -> Contest:
    """The original, the same hoisted only, and optimized."""
    tell("load")
    loaded = load_model(model)
    full = optimize(loaded, options, tell)
    hoisted = replace(options, disable=[rule.name for rule in all_rules()], tune=(), verify=False)
    one_shot = optimize(loaded, hoisted)
    models = {name: replace(loaded, model=r.model) for name, r in ((ONE_SHOT, one_shot), (FULL, full))}
    return Contest(loaded, models, FULL, tuple(full.report.user_inputs), full.notes)


def given_sides(model: ModelLike, result: ModelLike, options: Options, tell: Progress) -> Contest:
    """The original and a result of some kind.

    Raises:
        VerificationError: They do not compute the same.
        UsageError: It cannot be found out which inputs are the user's.
    """
    tell("load")
    original, other = load_model(model), load_model(result)
    users = _users(original, other, options)
    notes: tuple[str, ...] = ()
    if options.verify:
        tell("verify")
        report = verify(
            model,
            result,
            user_inputs=users,
            batches=options.batches,
            seeds=options.seeds,
            samples=options.samples,
            rtol=options.rtol,
            atol=options.atol,
        )
        if not report.passed:
            raise VerificationError(report.summary())
        notes = report.notes
    return Contest(original, {RESULT: other}, RESULT, users, notes)


def _users(original: Loaded, other: Loaded, options: Options) -> tuple[str, ...]:
    """The user-side inputs: as asked for, as the result says, or as the original does."""
    if options.user_inputs is None:
        source = open_source(original.model, "original model", original.folder)
        theirs = open_source(other.model, "result", other.folder)
        found = match_signatures(original_inputs(source, stated_axes(theirs, source)), theirs).user_inputs
        if found:
            return tuple(u.name if u.columns is None else _columns(u.name, u.columns, u.axis) for u in found)
    graph = normalise(read_graph(original.model, original.folder))
    return tuple(choose_inputs(graph, options.user_inputs, options.item_inputs).user_specs())


def _columns(name: str, columns: Sequence[int], axis: int) -> str:
    return f"{name}[{':, ' * axis}{','.join(map(str, columns))}]"


class Requests:
    """Draws requests that the original accepts.

    Args:
        contest: The models.
        samples: Inputs of the original to take instead of random ones.
    """

    def __init__(self, contest: Contest, samples: Mapping[str, Array] | None) -> None:
        original = contest.original
        self._contest = contest
        self._samples = samples
        self._source = open_source(original.model, "original model", original.folder)
        models = [open_source(m.model, side, m.folder) for side, m in contest.models.items()]
        best = models[list(contest.models).index(contest.side)]
        self._inputs = original_inputs(self._source, stated_axes(best, self._source))
        self._signatures = {
            side: match_signatures(self._inputs, model, list(contest.users))
            for side, model in zip(contest.models, models, strict=True)
        }
        for side, signature in self._signatures.items():
            if signature.problem:
                raise ModelError(f"{side}: {signature.problem}")
        self._session: Session | None = None

    @property
    def fixed(self) -> int | None:
        """The only number of candidates that the model takes, if it was exported with one."""
        return self._inputs.fixed_batch

    @property
    def unfrozen(self) -> tuple[str, ...]:
        """Inputs with columns of both sides in what the floor is made of: they cannot be frozen."""
        signature = self._best
        return tuple(u.name for u in signature.user_inputs if u.columns is not None and u.name in signature.expected)

    @property
    def _best(self) -> Signature:
        return self._signatures[self._contest.side]

    def draw(self, candidates: int) -> Request:
        """A request.

        Raises:
            ModelError: The original runs on nothing that can be drawn.
        """
        if self._session is None:
            self._session = open_session(self._source)
        failure = ""
        for plan, caution in self._attempts():
            feeds = plan.draw(candidates, SEED, caution)
            try:
                self._session.run(feeds.full)
            except RunError as error:
                failure = failure or str(error)
                continue
            sides = {side: s.feeds(feeds.full, feeds.single) for side, s in self._signatures.items()}
            best = sides[self._contest.side]
            frozen = {name: best[name] for name in self._users_of(self._best) if name in best}
            return Request(candidates, {VANILLA: dict(feeds.full), **sides}, frozen)
        raise ModelError(f"the original fails at {candidates} candidates: {failure}")

    def _attempts(self) -> Iterator[tuple[FeedPlan, Caution]]:
        for size in (OPEN_SIZE, *OTHER_OPEN_SIZES) if self._inputs.free_symbols else (OPEN_SIZE,):
            plan = plan_feeds(self._source, self._inputs, self._best.user_inputs, self._samples, size)
            for caution in Caution:
                yield replace(plan, one_user_row=self._best.given_once), caution
            yield replace(plan, one_user_row=not self._best.given_once), Caution.NORMAL

    @staticmethod
    def _users_of(signature: Signature) -> Iterator[str]:
        yield from (user.name for user in signature.user_inputs if user.columns is None)
        yield from (stacked.user for stacked in signature.stacked)


def floor_of(contest: Contest, request: Request) -> onnx.ModelProto:
    """The best model with the user's inputs of a request frozen.

    Raises:
        ModelError: Its user side alone cannot be run.
    """
    return freeze(contest.best.model, request.frozen, contest.best.folder)


def with_floor(contest: Contest, request: Request) -> Mapping[str, Mapping[str, Array]]:
    """The inputs of all sides, the floor included."""
    best = request.feeds[contest.side]
    return {**request.feeds, FLOOR: {n: array for n, array in best.items() if n not in request.frozen}}
