"""What ``mari-onnx explain`` shows: what is user-side, what the rules did, and what is still in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mari_onnx.analysis import Side
from mari_onnx.errors import ModelError
from mari_onnx.ir.graph import Node
from mari_onnx.item_only import ItemValue, item_only
from mari_onnx.leftovers import Leftover, leftovers
from mari_onnx.load import Loaded, ModelLike, load_model
from mari_onnx.options import Options
from mari_onnx.pipeline import Built, Progress, build
from mari_onnx.remarks import remarks_on_model
from mari_onnx.report import Report, summarise
from mari_onnx.rewrite.cost import CostModel, node_cost, node_flops
from mari_onnx.rewrite.record import Applied
from mari_onnx.rewrite.registry import AnyRule, chosen_rules

if TYPE_CHECKING:
    from mari_onnx.attainable import Attainable
    from mari_onnx.probe import Finding
    from mari_onnx.verification import UserInput

PROBED_CANDIDATES = 7
PROBED_DRAWS = 4
PROBED_USERS = 3
"""A user with one click in the history makes much equal that is not so for others."""
ORDER = (Side.SHARED, Side.USER, Side.ITEM, Side.CROSS, Side.OPAQUE)
"""A node is on the last of these sides that one of its outputs is on."""


@dataclass(frozen=True)
class SideShare:
    """What of the original lies on one side.

    Attributes:
        values: Number of values.
        nodes: Number of nodes.
        flops: Floating-point operations per request.
        microseconds: Estimated time per request.
    """

    values: int
    nodes: int
    flops: float
    microseconds: float


@dataclass(frozen=True)
class Lost:
    """Where the trace of the candidates is lost, and what comes behind in the original.

    Attributes:
        reason: The node, and what is the matter.
        nodes: Number of nodes of which nothing is proven on its account.
        flops: Their floating-point operations per request.
        microseconds: Their estimated time per request.
    """

    reason: str
    nodes: int
    flops: float
    microseconds: float


@dataclass(frozen=True)
class RuleUse:
    """What one rule did.

    Attributes:
        rule: Its name.
        exactness: Whether sums are in another order.
        algebra: What it does.
        times: How often it was applied.
        microseconds: Estimated time per request saved by the rewrites that began with it.
    """

    rule: str
    exactness: str
    algebra: str
    times: int
    microseconds: float


@dataclass(frozen=True)
class Refused:
    """Why a rule was not applied at a node."""

    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class Explanation:
    """All there is to say of a model.

    Attributes:
        candidates: Candidates per request that estimates are for.
        inputs: Side by input.
        sides: What of the original lies on each side.
        lost: Why nothing is proven of a part of the original, what takes longest first.
        report: Figures before and after.
        rules: What each rule did; those that did nothing are left out.
        applied: The rewrites.
        refused: The refusals.
        leftovers: What still runs for every candidate though it need not.
        item_only: Where work on items alone ends in the result, which could be kept for each item.
        findings: What a run showed, against what was proven.
        attainable: How much could run once, as a run showed.
        notes: Sentences for the user.
    """

    candidates: int
    inputs: Mapping[str, str]
    sides: Mapping[str, SideShare]
    lost: tuple[Lost, ...]
    report: Report
    rules: tuple[RuleUse, ...]
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    leftovers: tuple[Leftover, ...]
    item_only: tuple[ItemValue, ...]
    findings: tuple[Finding, ...] | None = None
    attainable: Attainable | None = None
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = None if self.findings is None else [{**asdict(f), "side": f.side.value} for f in self.findings]
        return {
            "candidates": self.candidates,
            "inputs": dict(self.inputs),
            "sides": {name: asdict(share) for name, share in self.sides.items()},
            "lost": [asdict(lost) for lost in self.lost],
            "report": self.report.to_json(),
            "rules": [asdict(use) for use in self.rules],
            "rewrites": [
                {"step": a.step, "rule": a.rule, "node": a.node, "algebra": a.algebra, "microseconds": a.gain}
                for a in self.applied
            ],
            "refused": [asdict(refused) for refused in self.refused],
            "leftovers": [left.to_json() for left in self.leftovers],
            "item_only": [one.to_json() for one in self.item_only],
            "findings": found,
            "attainable": None if self.attainable is None else self.attainable.to_json(),
            "notes": list(self.notes),
        }


def explain(
    source: ModelLike | Loaded, options: Options, *, run: bool = False, progress: Progress | None = None
) -> Explanation:
    """Optimizes a model without writing or verifying it, and tells what happened.

    Args:
        source: A path, a model, or one that has been read already.
        options: As for :func:`mari_onnx.optimize`.
        run: Whether to run the model as well, on one user and random items, and look at which values are the same
            for all candidates.
        progress: Told the stage.

    Raises:
        MariError: As :func:`mari_onnx.optimize` raises.
    """
    tell = progress or (lambda stage: None)
    loaded = load_model(source)
    rules = chosen_rules(options.disable)
    built = build(loaded, options, rules, None, tell)
    model = options.cost_model
    notes = [*built.analysis.inputs.notes, *remarks_on_model(built)]
    if built.rewritten.exhausted:
        notes.append("there was more to try, but the number of trials is limited")
    findings, could = (None, None)
    if run:
        tell("probe")
        findings, could = _probed(loaded, built, model)
    return Explanation(
        options.candidates,
        {name: side.value for name, side in built.analysis.inputs.sides.items()},
        _shares(built, model),
        tuple(_lost(built, model)),
        summarise(built, model),
        tuple(_uses(built.rewritten.applied, rules)),
        built.rewritten.applied,
        tuple(Refused(rule, node, reason) for (rule, node), reason in built.rewritten.refused.items()),
        tuple(leftovers(built, model)),
        tuple(item_only(built, model)),
        findings,
        could,
        tuple(notes),
    )


def _shares(built: Built, model: CostModel) -> dict[str, SideShare]:
    facts = built.analysis.facts
    values = Counter(fact.side for name, fact in facts.items() if name not in built.original.weights)
    nodes: dict[Side, list[Node]] = {side: [] for side in ORDER}
    for node in (n for n in built.analysis.network if isinstance(n, Node)):
        sides = [facts[v].side for v in node.outputs if v]
        nodes[max(sides, key=ORDER.index, default=Side.SHARED)].append(node)
    return {
        side.value: SideShare(
            values[side],
            len(nodes[side]),
            sum(node_flops(n, facts, model) for n in nodes[side]),
            sum(node_cost(n, facts, model) for n in nodes[side]),
        )
        for side in ORDER
    }


def _lost(built: Built, model: CostModel) -> list[Lost]:
    """Groups by the first of the reasons that reach a node, which each value hands on to what is made of it."""
    facts = built.analysis.facts
    groups: dict[str, list[Node]] = {}
    for node in (n for n in built.analysis.network if isinstance(n, Node)):
        reason = next((facts[v].opaque for v in node.outputs if v and facts[v].opaque), "")
        if reason:
            groups.setdefault(reason, []).append(node)
    found = [
        Lost(
            reason,
            len(nodes),
            sum(node_flops(n, facts, model) for n in nodes),
            sum(node_cost(n, facts, model) for n in nodes),
        )
        for reason, nodes in groups.items()
    ]
    return sorted(found, key=lambda lost: -lost.microseconds)


def _uses(applied: Sequence[Applied], rules: Iterable[AnyRule]) -> Iterable[RuleUse]:
    times = Counter(a.rule for a in applied)
    # What an application brings includes what followed from it, so of each step the first one alone counts.
    gains: Counter[str] = Counter()
    seen: set[int] = set()
    for one in applied:
        if one.step not in seen:
            gains[one.rule] += one.gain  # type: ignore[assignment]  # typeshed's Counter counts integers only
        seen.add(one.step)
    for rule in rules:
        if times[rule.name]:
            exactness = rule.exactness.value
            yield RuleUse(rule.name, exactness, rule.algebra, times[rule.name], float(gains[rule.name]))


def _probed(loaded: Loaded, built: Built, model: CostModel) -> tuple[tuple[Finding, ...], Attainable]:
    """What a run shows, as far as it contradicts or exceeds what was proven, and what could run once."""
    from mari_onnx.attainable import attainable
    from mari_onnx.probe import probe
    from mari_onnx.verification.draws import Caution

    problem: Exception | None = None
    for caution in Caution:
        try:
            users = list(_feeds(loaded, built, caution))
            runs = [probe(loaded.source, built.analysis, feeds) for feeds in users]
            could = attainable(built, loaded.model, users, model)
        except Exception as error:  # the runtime has a class for each status code and no common base
            problem = problem or error
            continue
        always = set.intersection(*({f.value for f in findings if f.is_missed} for findings in runs))
        bugs = {f.value: f for findings in runs for f in findings if f.is_bug}
        return (*bugs.values(), *(f for f in runs[0] if f.value in always)), could
    from mari_onnx.verification.sessions import runtime_message

    assert problem is not None
    raise ModelError(f"{loaded.name} does not run on random inputs: {runtime_message(problem)}") from problem


def _feeds(loaded: Loaded, built: Built, caution: Any) -> Iterator[list[dict[str, np.ndarray]]]:
    """For each of several users, inputs for several draws of items."""
    from mari_onnx.verification import open_source, original_inputs, parse_user_inputs, plan_feeds, stated_axes

    source = open_source(loaded.source, "original model")
    inputs = original_inputs(source, {**stated_axes(source), **built.analysis.inputs.axes})
    plan = plan_feeds(source, inputs, parse_user_inputs(built.user_inputs, inputs))
    candidates = inputs.fixed_batch or PROBED_CANDIDATES
    for user in range(PROBED_USERS):
        seeds = range(user * PROBED_DRAWS, (user + 1) * PROBED_DRAWS)
        first, *others = (dict(plan.draw(candidates, seed, caution).full) for seed in seeds)
        for other in others:
            for part in plan.user_inputs:
                _copy_user(first, other, part)
            other.update({info.name: first[info.name] for info in inputs.infos if info.axis is None})
        yield [first, *others]


def _copy_user(first: Mapping[str, np.ndarray], other: dict[str, np.ndarray], user: UserInput) -> None:
    if user.columns is None:
        other[user.name] = first[user.name]
    else:
        place = (slice(None),) * user.axis + (list(user.columns),)
        other[user.name] = other[user.name].copy()
        other[user.name][place] = first[user.name][place]
