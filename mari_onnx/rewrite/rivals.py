"""Results with and without the rules that may keep others from doing more; the best one is taken.

Where small requests come out slower than before, there is one more result to compare with, for which requests of all
sizes counted alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.objective import Times, merit, objective
from mari_onnx.rewrite.record import Rewritten
from mari_onnx.rewrite.registry import AnyRule
from mari_onnx.rewrite.rule import Phase
from mari_onnx.rewrite.workspace import Workspace

OTHERS = "other rules do better without it"

MOST_NODES = 5000
"""In all graphs together that are rewritten once more; where trials run out already, none is."""
MOST_TRIALS = 8000
"""In all rewritings together, as far as the first one tells beforehand: each more takes about as many as that."""
MORE_TRIALS = 4
"""How many times the trials of the first result one without a rival may take, and ``FEW_TRIALS`` besides."""
FEW_TRIALS = 100
NOTICED = 1.03
"""What takes so many times as long counts as slower; estimates tell no less apart."""
ALL_ALIKE = 1.0
"""What each size of requests counts in proportion to the one before, where small ones are to be no slower."""


def rewrite_best(
    fresh: Callable[[], Workspace],
    rules: Sequence[AnyRule],
    model: CostModel,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Workspace, Rewritten]:
    """Applies rules until none of them pays, once more without each rival that was applied, and takes the best result.

    Of that and one for requests of all sizes, in turn, the better one is taken where small requests would be slower.

    Args:
        fresh: Makes the graph to start from, each time anew.
        rules: In the order in which they are tried at a node.
        model: Prices.
        progress: As in :func:`~mari_onnx.rewrite.engine.rewrite`.
    """
    best = fresh()
    size, goal = len(best.graph), objective(best.graph.nodes, best.facts, model)
    before = goal.times(best.graph.nodes, best.facts)
    chosen = rewrite(best, rules, model, progress=progress)
    applied = {a.rule for a in chosen.applied}
    times = min(MOST_NODES // max(size, 1), MOST_TRIALS // max(chosen.trials, 1) - 1)
    trials = MORE_TRIALS * chosen.trials + FEW_TRIALS
    for rival in [r for r in rules if r.rival and r.name in applied][: max(times, 0)]:
        if chosen.exhausted:
            break
        other = fresh()
        fewer = [r for r in chosen.rules if r is not rival]
        found = rewrite(other, fewer, model, max_trials=trials, progress=progress)
        if goal.cost(other.graph.nodes, other.facts) < goal.cost(best.graph.nodes, best.facts):
            best, chosen = other, found
    after = goal.times(best.graph.nodes, best.facts)
    if times > 0 and not chosen.exhausted and _is_slower(before, after):
        other = fresh()
        # Fewer trials succeed, so it takes more of them.
        found = rewrite(other, chosen.rules, model, max_trials=2 * trials, progress=progress, less=ALL_ALIKE)
        even = goal.times(other.graph.nodes, other.facts)
        if not found.exhausted and merit(before, even) > merit(before, after):
            best, chosen = other, found
    return best, chosen if len(chosen.rules) == len(rules) else rewrite_afterwards(best, chosen, rules, model)


def _is_slower(before: Times, after: Times) -> bool:
    """Whether requests of some size take longer."""
    return any(new > NOTICED * old for old, new in zip(before, after, strict=True))


def rewrite_afterwards(
    workspace: Workspace, done: Rewritten, rules: Sequence[AnyRule], model: CostModel, limit: int | None = None
) -> Rewritten:
    """Applies more rules where others have found nothing more; what has been left out may find a little.

    Args:
        workspace: The graph, as the others have left it.
        done: What they did.
        rules: The rules.
        model: Prices.
        limit: Stop after so many outermost applications, those of the others counted.
    """
    steps = max((a.step for a in done.applied), default=0)
    # A rule that goes first is no longer first, and nothing would be compared with what it costs.
    others = [r for r in rules if r in done.rules or Phase.OPENING not in r.phases]
    left = None if limit is None else limit - steps
    more = rewrite(workspace, others, model, limit=left, less=done.less)
    later = tuple(replace(a, step=a.step + steps) for a in more.applied)
    left_out = [r.name for r in rules if r not in done.rules]
    refused = {place: OTHERS if place[0] in left_out else why for place, why in more.refused.items()}
    trials = done.trials + more.trials
    return Rewritten((*done.applied, *later), refused, more.exhausted, done.rules, tuple(rules), trials, done.less)
