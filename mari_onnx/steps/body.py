"""Reads the body of a loop once, for all of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from mari_onnx.analysis.analyze import Judge
from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.transfer import RANDOM
from mari_onnx.ir.dims import Dim, difference, same
from mari_onnx.ir.graph import Node, Weight
from mari_onnx.ir.proto import constant_value, read_nodes, read_weight
from mari_onnx.normalise import has_subgraph
from mari_onnx.steps.batched import BATCHED
from mari_onnx.steps.values import STEP, Appended, DependentError, Numbers, Rows, Unknown, Value, Whole, substituted
from mari_onnx.steps.written import Written


class Body:
    """Evaluates a body.

    Args:
        written: Takes the nodes that run all steps at once.
        judge: Knows what numbers single nodes make of numbers.
        count: The number of steps.
        known: What else is known of symbols, in a branch that is taken at certain steps alone.
    """

    def __init__(self, written: Written, judge: Judge, count: Dim, known: Mapping[Dim, Dim] | None = None) -> None:
        self._written = written
        self._judge = judge
        self._count = count
        self._known = dict(known or {})
        self._gaps: dict[str, Dim] = {}

    def run(self, graph: onnx.GraphProto, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """What each step sees of every value of a body.

        Args:
            graph: The body.
            inputs: What it sees of the values that go in, and of values of graphs around it that depend on the step.
        """
        values = dict(inputs)
        values |= {t.values.name: Unknown("its body has sparse constants") for t in graph.sparse_initializer}
        values |= {t.name: Whole(self._written.weight(read_weight(t, None))) for t in graph.initializer}
        for node in read_nodes(graph):
            given = [seen(values, v) if v else None for v in node.inputs]
            try:
                results = self._results(node, given, values)
            except DependentError as problem:
                results = [Unknown(str(problem))] * len(node.outputs)
            self._note_gap(node, given)
            values |= {name: value for name, value in zip(node.outputs, results, strict=True) if name}
        return values

    def outputs(self, graph: onnx.GraphProto, inputs: Mapping[str, Value]) -> list[Value]:
        """The same of the values that come out."""
        values = self.run(graph, inputs)
        return [seen(values, v.name) for v in graph.output]

    def fact(self, value: Value | None) -> Fact:
        """What is known of the numbers of a value."""
        if isinstance(value, Numbers):
            return substituted(value.fact, self._known)
        if isinstance(value, Whole):
            return substituted(self._written.fact(value.name), self._known)
        return Fact(opaque="known for all steps at once")

    def _results(self, node: Node, inputs: Sequence[Value | None], values: Mapping[str, Value]) -> list[Value]:
        unknown = next((i.reason for i in inputs if isinstance(i, Unknown)), None)
        constant = constant_value(node)
        if constant is not None:
            return [Whole(self._written.weight(Weight.of(constant)))]
        if node.op == "If" and not node.domain:
            return self._branches(node, inputs[0], values)
        if unknown is not None:
            raise DependentError(unknown)
        if len(node.outputs) != 1 or node.domain or has_subgraph(node) or node.op in (*RANDOM, "Dropout"):
            raise DependentError(f"{node.where()} is not known for all steps at once")
        if node.op == "SequenceInsert":
            return [_appended(node, inputs)]
        if node.op == "Identity" and inputs[0] is not None:
            return [inputs[0]]
        return [self._result(self._plain(node, inputs), inputs)]

    def _plain(self, node: Node, inputs: Sequence[Value | None]) -> Node:
        """A cast to the type of another value, as one to a type."""
        dtype = self.fact(inputs[1]).dtype if node.op == "CastLike" else 0
        return Node("Cast", node.inputs[:1], node.outputs, {"to": dtype}, name=node.name) if dtype else node

    def _result(self, node: Node, inputs: Sequence[Value | None]) -> Value:
        inputs = inputs[: len(node.inputs)]
        if all(i is None or isinstance(i, (Numbers, Whole)) for i in inputs):
            given = tuple(None if i is None else self.fact(i) for i in inputs)
            (found,) = self._judge.facts(node, given, ())
            if found.content is not None:
                return Numbers(Fact(found.dtype, found.content.shape, content=found.content))
            concrete = [self._concrete(i) for i in inputs]
            if all(i is None or isinstance(i, Whole) for i in concrete):
                names = [i.name if isinstance(i, Whole) else "" for i in concrete]
                return Whole(self._written.call(node.op, names, node.attrs))
        rule = BATCHED.get(node.op)
        if rule is None:
            raise DependentError(f"{node.where()} is not known for all steps at once")
        return rule(self._written, self._count, node, [self._concrete(i) for i in inputs])

    def _concrete(self, value: Value | None) -> Value | None:
        """Numbers that are the same at each step as a constant, and what is known of the others."""
        fact = self.fact(value)
        if fact.content is None:
            return value
        numbers = fact.numbers
        if numbers is None:
            return Numbers(fact)
        return value if isinstance(value, Whole) else Whole(self._written.numbers(numbers))

    def _branches(self, node: Node, condition: Value | None, values: Mapping[str, Value]) -> list[Value]:
        """What an If makes at every step: the branch that all steps take, or the same in both."""
        taken = self.fact(condition).integers
        if taken is not None and len(taken) == 1:
            return self.outputs(node.attrs["then_branch" if taken[0] else "else_branch"].g, values)
        gap = self._gaps.get(node.inputs[0])
        if gap is None or isinstance(self._count, int) or not same(gap, STEP + 1 - self._count):
            raise DependentError(f"{node.where()} takes one branch or the other")
        last = Body(self._written, self._judge, self._count, {self._count: STEP + 1})
        results = last.outputs(node.attrs["then_branch"].g, values)
        if results != self.outputs(node.attrs["else_branch"].g, values):
            raise DependentError(f"{node.where()} does something else at the last step")
        return results

    def _note_gap(self, node: Node, inputs: Sequence[Value | None]) -> None:
        """Remembers by how much two numbers differ that the body asks to be equal: at its last step, say."""
        if node.op == "Equal" and not node.domain:
            one, other = (self.fact(i).entry for i in inputs)
            if one is not None and other is not None:
                self._gaps[node.output] = difference(one, other)


def seen(values: Mapping[str, Value], name: str) -> Value:
    """What a step sees under a name: a value of its body, or of the graph around it."""
    return values[name] if name in values else Whole(name)


def _appended(node: Node, inputs: Sequence[Value | None]) -> Appended:
    listed, row = inputs[0], inputs[1]
    if not isinstance(listed, Appended) or listed.row is not None or not isinstance(row, Rows) or node.has_input(2):
        raise DependentError(f"{node.where()} does more than append what the step makes")
    return Appended(row)
