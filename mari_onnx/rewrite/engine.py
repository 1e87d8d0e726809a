"""Applies rules where they pay.

Each application is tried: the node is rewritten, what follows from it is tried in turn, and the whole is kept only if
the objective has become smaller; otherwise it is rolled back. So a Concat is pushed through a chain of layers if, and
only if, something at the end absorbs it.

It works in phases (:class:`~mari_onnx.rewrite.rule.Phase`): the opening one goes over the graph once, the others until
they find nothing more.

Why it ends: every application that is kept makes the graph cheaper by at least ``MIN_GAIN``, and costs cannot fall
below zero; only in the one opening pass and in ``CLEARING_PASSES`` clearing ones may a rule cost something. Within one
outermost trial the depth is bounded by ``MAX_DEPTH`` and the number of trials by ``MAX_FOLLOWING``, and all trials
together by ``max_trials``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mari_onnx.analysis.transfer.elementwise import BROADCASTING
from mari_onnx.errors import RuleError
from mari_onnx.ir.graph import Edits, Graph, Node
from mari_onnx.rewrite.behind import behind_concat
from mari_onnx.rewrite.blocked import is_beside_blocked_product
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.integers import is_of_integers
from mari_onnx.rewrite.memory import Memory
from mari_onnx.rewrite.objective import LESS, Objective, objective
from mari_onnx.rewrite.record import Applied, Rewritten, Trials
from mari_onnx.rewrite.registry import AnyRule, by_operator
from mari_onnx.rewrite.rule import Phase, Refusal
from mari_onnx.rewrite.workspace import Workspace

_log = logging.getLogger(__name__)

MAX_DEPTH = 120
MAX_FOLLOWING = 1000
"""Trials within one outermost trial; behind that, nothing new is followed."""
EARLY_LOSS = 0.8
"""Starts of an operator that an early rule may cost within a trial, which is judged as a whole; a clearing one at the
start."""
CLEARING_PASSES = 3

JOINING = frozenset({"Concat", *BROADCASTING})
"""Operators that pass a Concat on only when it arrives at all their inputs."""

ENABLED_GAIN = 2.0
"""Starts of an operator that an early rule saves where it is the use of an enabling one: less, and it clears up."""
GROUP_LOSS = 12.0
"""Starts of an operator that one of the nodes that are tried together may cost."""
TRIALS_PER_NODE = 10
MIN_GAIN = 1e-6
"""Microseconds."""


def rewrite(
    workspace: Workspace,
    rules: Sequence[AnyRule],
    model: CostModel,
    *,
    max_trials: int | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    less: float = LESS,
) -> Rewritten:
    """Applies rules to a graph until none of them pays.

    Args:
        workspace: The graph; edited in place, valid after every application.
        rules: In the order in which they are tried at a node.
        model: Prices.
        max_trials: How often rules may be tried; by default in proportion to the size of the graph.
        limit: Stop after so many outermost applications (to find a guilty one).
        progress: Called with the number of nodes looked at and their number in all.
        less: What each size of requests counts, in proportion to the one before.
    """
    goal = objective(workspace.graph.nodes, workspace.facts, model, less)
    budget = TRIALS_PER_NODE * len(workspace.graph) + 3000 if max_trials is None else max_trials
    engine = _Engine(workspace, rules, goal, Trials(budget), limit)
    known = {node.where() for node in workspace.graph.nodes}
    engine.run(progress)
    trials = engine.trials
    known |= {node.where() for node in workspace.graph.nodes}
    # Nodes that only a trial had, which was rolled back, mean nothing to a reader.
    refused = {place: reason for place, reason in trials.refused.items() if place[1] in known}
    tried = budget - trials.left
    return Rewritten(tuple(trials.applied), refused, trials.left <= 0, tuple(rules), trials=tried, less=less)


class _Engine:
    def __init__(
        self,
        workspace: Workspace,
        rules: Sequence[AnyRule],
        goal: Objective,
        trials: Trials,
        limit: int | None,
    ) -> None:
        self.workspace = workspace
        self.by_phase = {phase: by_operator([r for r in rules if phase in r.phases]) for phase in Phase}
        self.in_vain = {phase: Memory(workspace.graph, self._may_go_on) for phase in Phase}
        self.in_vain_behind = Memory(workspace.graph, self._may_go_on)
        self.rules = self.by_phase[Phase.MAIN]
        self.enabling = by_operator([r for r in rules if r.enabling])
        self._early_names = {r.name for r in rules if Phase.EARLY in r.phases}
        self.objective = goal
        self.trials = trials
        self.limit = limit
        self.outermost = 0
        self.following = 0

    @property
    def graph(self) -> Graph:
        return self.workspace.graph

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        self._pass(Phase.OPENING, MAX_DEPTH, None, float("-inf"))
        for _ in range(CLEARING_PASSES):
            if not self._pass(Phase.CLEARING, MAX_DEPTH, None, -EARLY_LOSS * self.objective.start):
                break
        while self._pass(Phase.EARLY, MAX_DEPTH, None):
            pass
        while self._pass(Phase.MAIN, 0, progress):
            pass
        self.rules = self.by_phase[Phase.CLOSING]
        self.in_vain_behind = Memory(self.graph, self._may_go_on)
        while self._pass(Phase.CLOSING, 1, None):
            pass

    def _pass(
        self,
        phase: Phase,
        depth: int,
        progress: Callable[[int, int], None] | None,
        least: float | None = None,
    ) -> bool:
        """Tries the rules of a phase once at every node; whether one was kept."""
        rules, changed = self.by_phase[phase], False
        nodes = self.graph.nodes
        for index, node in enumerate(nodes):
            if progress is not None and index % 64 == 0:
                progress(index, len(nodes))
            if self._is_over():
                return False
            if self.in_vain[phase].tried(node, partial(self._try_outermost, node, depth, rules, least)):
                self.outermost += 1
                self.graph.commit()
                changed = True
        return changed

    def _try_outermost(self, node: Node, depth: int, rules: dict[str, list[AnyRule]], least: float | None) -> bool:
        """Tries the rules for one node, and for its readers together; whether anything was kept."""
        self.following = 0
        if node.kind in rules and self.try_node(node, depth, rules, least):
            return True
        return depth == 0 and self._try_together(node)

    def _is_over(self) -> bool:
        return self.trials.left <= 0 or (self.limit is not None and self.outermost >= self.limit)

    def try_node(
        self, node: Node, depth: int, rules: dict[str, list[AnyRule]] | None = None, least: float | None = None
    ) -> bool:
        """Tries the rules for one node; whether one was kept, because it gains at least so many microseconds."""
        if node not in self.graph:
            return False
        least = MIN_GAIN if least is None else least
        applicable = (self.rules if rules is None else rules).get(node.kind, ())
        if depth == 0:
            applicable = self._best_first(node, [r for r in applicable if self._matches(r, node)], least)
        return any(self._try(rule, node, depth, least) for rule in applicable)

    def _matches(self, rule: AnyRule, node: Node) -> bool:
        """Whether a rule would be applied, or has something to say of why not."""
        try:
            return rule.match(node, self.workspace) is not None
        except Exception:  # said where the rule is tried
            return True

    def _best_first(self, node: Node, rules: list[AnyRule], least: float) -> list[AnyRule]:
        """Rules that could be applied to the same node: the one behind which most is gained, if any, and no other."""
        if len(rules) < 2:
            return rules
        mark, kept = self.workspace.mark(), len(self.trials.applied)
        gains: dict[AnyRule, float] = {}
        for rule in rules:
            self.following = 0
            if self._try(rule, node, 0, least):
                gains[rule] = self.trials.applied[kept].gain
                self._undo(mark, kept)
        self.following = 0
        best = max(gains, key=gains.__getitem__, default=None)
        for rule in gains:
            if rule is not best:
                self._refuse(rule, node, f"{best.name if best else ''} pays more")
        return [best] if best is not None else []

    def _try_together(self, node: Node) -> bool:
        """Tries all readers of a Concat, or of flattened rows, at once: what none pays alone, they may pay together."""
        readers, rules = self._readers(node)
        if len(readers) < 2:
            return False
        mark, kept = self.workspace.mark(), len(self.trials.applied)
        for consumer in readers:
            for rule in rules.get(consumer.kind, ()) if consumer in self.graph else ():
                if self._try(rule, consumer, 1, -GROUP_LOSS * self.objective.start):
                    break
        if len(self.trials.applied) > kept and self._gain(self.graph.edits(mark)) >= MIN_GAIN:
            return True
        self._undo(mark, kept)
        return False

    def _readers(self, node: Node) -> tuple[list[Node], dict[str, list[AnyRule]]]:
        """What is tried together because of a node, and the rules for it.

        Layers that share rows laid end to end, as queries, keys and values do, are taken apart where each of them ends;
        other rules than those that take them apart need no company.
        """
        if node.kind == "Concat":
            return list(self.graph.consumers(node.output)) if node in self.graph else [], self.rules
        # It may read another value by now, as what was in front of it has changed.
        current = self.graph.producer(node.output) if node.kind == "Reshape" else None
        if current is None:
            return [], {}
        consumers = self.graph.consumers(current.output)
        layers = [c for c in consumers if len(c.outputs) == 1]
        return list(dict.fromkeys(end for c in layers for end in self.graph.consumers(c.output))), self.enabling

    def _try(self, rule: AnyRule, node: Node, depth: int, least: float) -> bool:
        """Applies a rule and what follows from it; keeps it all if it gains at least ``least`` microseconds."""
        found = self._found(rule, node)
        if found is None:
            return False
        mark, kept = self.workspace.mark(), len(self.trials.applied)
        touched = self._applied(rule, node, found)
        if touched is None:
            return False
        if depth < MAX_DEPTH and self.following < MAX_FOLLOWING:
            self._follow(touched, depth + 1)
            if rule.enabling:
                self._follow_in_front(touched, depth + 1)
        edits = self.graph.edits(mark)
        gain = self._gain(edits)
        if gain < least or (rule.enabling and not self._enabled(kept)):
            self._undo(mark, kept)
            self._refuse(rule, node, "does not pay")
            return False
        self._keep(rule, node, edits, kept, gain)
        return True

    def _enabled(self, kept: int) -> bool:
        """Whether a rule of some use of its own was applied since."""
        least = ENABLED_GAIN * self.objective.start
        return any(a.rule not in self._early_names or a.gain > least for a in self.trials.applied[kept:])

    def _found(self, rule: AnyRule, node: Node) -> Any:
        """What a rule that may be applied to a node needs for it, or ``None``."""
        try:
            found = rule.match(node, self.workspace)
        except RuleError as error:
            self._refuse(rule, node, str(error))
            return None
        except Exception as error:
            self._broken(rule, node, error)
            return None
        if found is None:
            return None
        reason = found.reason if isinstance(found, Refusal) else self._kept_by_runtime(rule, node)
        if reason:
            self._refuse(rule, node, reason)
            return None
        return found

    def _kept_by_runtime(self, rule: AnyRule, node: Node) -> str:
        """Why the runtime does better with a node as it is, if so."""
        if is_beside_blocked_product(node, self.workspace):
            return "the runtime has a product of its own for weights quantized in blocks"
        if not rule.keeps_integers and is_of_integers(node, self.graph):
            return "the runtime computes it on integers"
        return ""

    def _applied(self, rule: AnyRule, node: Node, found: Any) -> list[Node] | None:
        """Applies a rule; the nodes it touched, or ``None`` with the graph as it was."""
        mark, kept = self.workspace.mark(), len(self.trials.applied)
        try:
            self.trials.left -= 1
            self.following += 1
            self.workspace.working_for(node, rule.name)
            self.workspace.replace(node, rule.rewrite(node, found, self.workspace))
            return self.workspace.settle()
        except RuleError as error:
            self._refuse(rule, node, str(error))
        except Exception as error:
            self._broken(rule, node, error)
        self._undo(mark, kept)
        return None

    def _broken(self, rule: AnyRule, node: Node, error: Exception) -> None:
        """A rule that breaks must not break the user's run."""
        _log.warning("internal error in rule %s at %s: %r", rule.name, node.where(), error)
        self._refuse(rule, node, f"internal error: {error!r}")

    def _refuse(self, rule: AnyRule, node: Node, reason: str) -> None:
        self.trials.refused[(rule.name, node.where())] = reason

    def _try_behind(self, node: Node, depth: int) -> bool:
        """Tries the rules for a node behind one that was rewritten."""
        return self.in_vain_behind.tried(node, partial(self.try_node, node, depth))

    def _follow(self, touched: Sequence[Node], depth: int) -> None:
        """Tries what has become possible through an application."""
        for node in self._clear_view(touched):
            if self._may_go_on() and not self._try_behind(node, depth):
                self._follow_siblings(node, depth)
                self._follow_concat(node, depth)

    def _may_go_on(self) -> bool:
        return self.trials.left > 0 and self.following < MAX_FOLLOWING

    def _clear_view(self, touched: Sequence[Node]) -> list[Node]:
        """Applies the early rules among the nodes touched, and returns those and what they touch in turn."""
        seen: dict[Node, None] = dict.fromkeys(touched)
        queue = list(touched)
        while queue and self._may_go_on():
            node = queue.pop(0)
            if node not in self.graph:
                continue
            for rule in self.by_phase[Phase.EARLY].get(node.kind, ()):
                found = self._found(rule, node)
                mark, kept = self.workspace.mark(), len(self.trials.applied)
                more = None if found is None else self._applied(rule, node, found)
                if more is None:
                    continue
                edits = self.graph.edits(mark)
                gain = self._gain(edits)
                if gain < -EARLY_LOSS * self.objective.start:
                    self._undo(mark, kept)
                    continue
                self._keep(rule, node, edits, kept, gain)
                seen |= dict.fromkeys(more)
                queue += more
                break
        return sorted((n for n in seen if n in self.graph), key=self.graph.order)

    def _follow_concat(self, node: Node, depth: int) -> None:
        """A Concat whose parts have changed is a new chance for those that read it."""
        if node.kind != "Concat" or node not in self.graph or depth >= MAX_DEPTH:
            return
        for consumer in self.graph.consumers(node.output):
            self._try_behind(consumer, depth + 1)

    def _follow_siblings(self, node: Node, depth: int) -> None:
        """Where a Concat has arrived at one input of a node that waits for one at each, tries to bring the others."""
        if node not in self.graph or node.kind not in JOINING or depth >= MAX_DEPTH:
            return
        producers = [self.graph.producer(v) for v in node.inputs if v]
        if not any(p is not None and p.kind == "Concat" for p in producers):
            return
        for producer in producers:
            waiting = behind_concat(producer, self.graph) if node in self.graph else None
            if waiting is not None:
                self._try_behind(waiting, depth + 1)

    def _follow_in_front(self, touched: Sequence[Node], depth: int) -> None:
        """What a Concat got stuck for may be gone: tries the node that it waits at again."""
        for node in touched:
            waiting = behind_concat(node, self.graph) if node in self.graph and depth < MAX_DEPTH else None
            if waiting is not None and waiting is not node:
                self.try_node(waiting, depth + 1)

    def _gain(self, edits: Edits) -> float:
        added, removed = edits
        return self.objective.gain(added, removed, self.workspace.facts)

    def _undo(self, mark: int, kept: int) -> None:
        self.workspace.roll_back(mark)
        del self.trials.applied[kept:]

    def _keep(self, rule: AnyRule, node: Node, edits: Edits, kept: int, gain: float) -> None:
        added, removed = edits
        record = Applied(
            rule.name,
            rule.algebra,
            node.where(),
            tuple(n.where() for n in removed),
            tuple(n.where() for n in added),
            gain,
            self.outermost + 1,
        )
        self.trials.applied.insert(kept, record)
