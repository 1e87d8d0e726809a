"""Finds the loops that can be run for all steps at once, and writes them so."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import onnx

from mari_onnx.analysis.analyze import Analysis, Judge
from mari_onnx.analysis.facts import Content, Fact
from mari_onnx.analysis.transfer.layouts import FAR
from mari_onnx.ir.dims import Dim, same
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.ir.proto import read_nodes
from mari_onnx.normalise import rebuilt
from mari_onnx.steps.body import Body, seen
from mari_onnx.steps.values import STEP, Appended, DependentError, Numbers, Rows, Unknown, Value
from mari_onnx.steps.written import Written

_log = logging.getLogger(__name__)


def run_at_once(graph: Graph, analysis: Analysis) -> Graph:
    """Replaces every Loop whose steps have nothing to do with one another.

    Args:
        graph: The graph, not changed.
        analysis: What is proven of it: how many steps there are and where they cut what they read follows from sizes.

    Returns:
        The graph itself where there is none.
    """
    judge = Judge(graph, analysis.inputs)
    weights = dict(graph.weights)
    instead: dict[Node, list[Node]] = {}
    for node in (n for n in graph.sorted_nodes() if n.op == "Loop" and not n.domain):
        written = Written(graph, analysis.facts, judge, node.name)
        try:
            instead |= _Loop(graph, node, written, judge).replacements()
        except DependentError as problem:
            _log.debug("%s stays: %s", node.where(), problem)
            continue
        except Exception as error:  # a body of a kind that we did not foresee must not break the user's run
            _log.warning("internal error in the body of %s: %r", node.where(), error)
            continue
        weights |= written.weights
    if not instead:
        return graph
    return rebuilt(graph, [m for n in graph.sorted_nodes() for m in instead.get(n, [n])], weights)


class _Loop:
    """One loop, and what is known of how it runs."""

    def __init__(self, graph: Graph, node: Node, written: Written, judge: Judge) -> None:
        self._graph = graph
        self._node = node
        self._written = written
        self._judge = judge
        body = node.attrs.get("body")
        if not isinstance(body, onnx.AttributeProto):
            raise DependentError("it has no body")
        self._body: onnx.GraphProto = body.g

    def replacements(self) -> dict[Node, list[Node]]:
        """The nodes to write instead of the loop and of those that read a list that it makes.

        Raises:
            DependentError: The loop has to run step by step.
        """
        step, condition, *carried = (v.name for v in self._body.input)
        states = [self._state(v) for v in self._node.inputs[2:]]
        given = {
            step: _numbers(Content((), (STEP,)), onnx.TensorProto.INT64),
            condition: _numbers(Content((), (1,)), onnx.TensorProto.BOOL),
        }
        count = self._count()
        body = Body(self._written, self._judge, count)
        values = body.run(self._body, {**given, **dict(zip(carried, states, strict=True))})
        going, *results = (seen(values, v.name) for v in self._body.output)
        self._check_end(body, values, going, count)
        instead: dict[Node, list[Node]] = {self._node: self._written.nodes}
        for before, after, output in zip(states, results, self._node.outputs, strict=False):
            instead |= self._carried(body, before, after, output)
        for after, output in zip(results[len(states) :], self._node.outputs[len(states) :], strict=True):
            if not isinstance(after, Rows):
                reason = after.reason if isinstance(after, Unknown) else "it is the same at each step"
                raise DependentError(f"'{output}' cannot be collected at once: {reason}")
            if output:
                self._written.nodes.append(Node("Identity", (after.name,), (output,), name=output, rule="loop"))
        return instead

    def _state(self, value: str) -> Value:
        """What is carried, at each step: a counter that grows by one, or a list that does."""
        maker = self._graph.producer(value)
        if maker is not None and maker.op == "SequenceEmpty" and not maker.domain:
            return Appended()
        start = self._single(value)
        fact = self._written.fact(value)
        if not isinstance(start, int) or fact.content is None:
            raise DependentError("it carries more than a counter from step to step")
        return _numbers(Content(fact.content.shape, (start + STEP,)), fact.dtype)

    def _single(self, value: str) -> Dim | None:
        return self._written.fact(value).entry if value else None

    def _count(self) -> Dim:
        """How many steps there are: as told, or as many as the condition lets happen."""
        told = self._single(self._node.inputs[0])
        start = self._single(self._node.inputs[1]) if self._node.has_input(1) else 1
        if told is not None and not (isinstance(told, int) and told >= FAR):
            if start != 1:
                raise DependentError("it may not start")
            return told
        if told is None and self._node.has_input(0):
            raise DependentError("nothing is known of the number of its steps")
        return self._limit(start)

    def _condition(self) -> Node:
        """The comparison that lets the next step happen."""
        name = self._body.output[0].name
        found = next((n for n in read_nodes(self._body) if name in n.outputs), None)
        if found is None or found.op != "Less" or found.domain:
            raise DependentError("it goes on for as long as something holds that is not known")
        return found

    def _limit(self, start: Dim | None) -> Dim:
        """The number of steps of a loop that goes on while its counter is less than a number from outside."""
        limit = self._single(self._condition().inputs[1])
        if limit is None:
            raise DependentError("nothing is known of the number of its steps")
        if start != 1:
            first = self._graph.producer(self._node.inputs[1])
            bounds = [self._single(v) for v in first.inputs] if first is not None and first.op == "Less" else []
            if len(bounds) != 2 or bounds[0] != 0 or bounds[1] is None or not same(bounds[1], limit):
                raise DependentError("it may not start")
        return limit

    def _check_end(self, body: Body, values: Mapping[str, Value], going: Value, count: Dim) -> None:
        """That the loop does not end before its number of steps, nor after it."""
        if body.fact(going).integers == (1,):
            return
        counter, limit = (body.fact(seen(values, v)).entry for v in self._condition().inputs)
        if counter is None or limit is None or not same(counter, STEP + 1) or not same(limit, count):
            raise DependentError("it goes on for as long as something holds that is not known")

    def _carried(self, body: Body, before: Value, after: Value, output: str) -> dict[Node, list[Node]]:
        """What readers of a carried value's last state read instead."""
        if isinstance(before, Appended):
            if not isinstance(after, Appended) or after.row is None:
                raise DependentError("it carries a list to which not every step appends")
            if self._graph.is_output(output):
                raise DependentError("the list that it makes is an output")
            return {n: self._collected(n, after.row) for n in self._graph.consumers(output)}
        one, other = body.fact(before).entry, body.fact(after).entry
        if one is None or other is None or not same(other, one + 1):
            raise DependentError("it carries more than a counter from step to step")
        if self._graph.consumers(output) or self._graph.is_output(output):
            raise DependentError("its last state is read")
        return {}

    def _collected(self, reader: Node, row: Rows) -> list[Node]:
        """What joins the entries of a list, from all of them at once."""
        axis, stacked = int(reader.attrs.get("axis", 0)), bool(reader.attrs.get("new_axis", 0))
        if reader.op != "ConcatFromSequence" or reader.domain or axis != 0:
            raise DependentError(f"{reader.where()} reads the list that it makes")
        name = row.name
        shape = self._written.shape(name)
        if not stacked:
            if len(shape) < 2 or not all(isinstance(d, int) and d > 0 for d in shape[2:]):
                raise DependentError(f"the sizes of what {reader.where()} joins are not known")
            name = self._written.call(
                "Reshape", [name, self._written.numbers(np.array([-1, *shape[2:]], np.int64))], {}
            )
        return [Node("Identity", (name,), reader.outputs, name=reader.name, rule="loop")]


def _numbers(content: Content, dtype: int) -> Numbers:
    return Numbers(Fact(dtype, content.shape, content=content))
