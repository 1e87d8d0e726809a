"""The analysis: one pass over the graph in topological order, one table look-up per node."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
import onnx

from mari_onnx.analysis.bodies import CONTROL_FLOW, UnprovenError, body_facts
from mari_onnx.analysis.content import MAX_ITEMS, evaluate
from mari_onnx.analysis.facts import CandidateAxis, Content, Fact, Shape, Side
from mari_onnx.analysis.infer import TypeInference
from mari_onnx.analysis.inputs import Inputs, InputSide
from mari_onnx.analysis.recall import Recall
from mari_onnx.analysis.sizes import refine
from mari_onnx.analysis.transfer import RANDOM, SIZELESS, SIZING, TRANSFERS, Call, Claim, Lane, Opaque
from mari_onnx.checks import did_you_mean
from mari_onnx.errors import UsageError
from mari_onnx.ir.dims import CANDIDATES, Dim, is_underived, mentions_candidates, substitute, symbol
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.ir.proto import constant_value

_log = logging.getLogger(__name__)


class Judge:
    """Finds the facts of a node's outputs from those of its inputs.

    Args:
        graph: Where the constants are.
        inputs: Sides of the graph's inputs.
    """

    def __init__(self, graph: Graph, inputs: Inputs) -> None:
        self._graph = graph
        self._inputs = inputs
        self._types = TypeInference(graph.model)
        self._recalled: Recall[tuple[Fact, ...]] = Recall()

    @property
    def batch(self) -> int | None:
        return self._inputs.batch

    def input_fact(self, name: str) -> Fact:
        """The fact of a graph input at B candidates."""
        declared = self._graph.inputs[name]
        if not declared.type.HasField("tensor_type"):
            return Fact(opaque="it is not a tensor")
        tensor = declared.type.tensor_type
        side = self._inputs.sides.get(name, InputSide.SHARED)
        shape: Shape | None = _declared(name, tensor.shape) if tensor.HasField("shape") else None
        user = side is InputSide.USER
        if side is InputSide.SHARED or shape is None:
            return Fact(tensor.elem_type, shape, request=True)
        axis = CandidateAxis(self._inputs.axes[name])
        shape = (*shape[: axis.index], CANDIDATES, *shape[axis.index + 1 :])
        return Fact(tensor.elem_type, shape, axis, varies=not user, request=user, item=not user)

    def can_repeat(self, dtype: int) -> bool:
        """Whether a value of an element type can be repeated for every candidate.

        ONNX Runtime has no Expand for bfloat16 on the CPU, where verification runs.
        """
        return (
            dtype not in (0, onnx.TensorProto.BFLOAT16)
            and self._types.accepts("Expand", dtype)
            and self._types.accepts("Tile", dtype)
        )

    def weight_fact(self, name: str) -> Fact:
        return self.constant_fact(self._graph.weights[name])

    def constant_fact(self, weight: Weight) -> Fact:
        """The fact of a constant."""
        return Fact(weight.dtype, weight.shape, content=_weight_content(weight))

    def facts(self, node: Node, inputs: tuple[Fact | None, ...], captures: tuple[Fact, ...]) -> tuple[Fact, ...]:
        """The facts of a node's outputs.

        Args:
            node: The node.
            inputs: Facts of its inputs, ``None`` for absent ones.
            captures: Facts of the values its subgraphs read.
        """
        if captures or (node.op in CONTROL_FLOW and not node.domain):
            return self._found(node, inputs, captures)
        return self._recalled.get(node, inputs, lambda: self._found(node, inputs, ()), _hold_for_all)

    def _found(self, node: Node, inputs: tuple[Fact | None, ...], captures: tuple[Fact, ...]) -> tuple[Fact, ...]:
        given = [f for f in inputs if f is not None] + list(captures)
        if node.op in CONTROL_FLOW and not node.domain and any(f.axis is not None for f in given):
            return self._control_flow(node, inputs, captures)
        types = self._types.outputs(node, inputs, self._data(node, inputs))
        dtypes = [t for t, _ in types]
        shapes = self._shapes(node, inputs, [s for _, s in types])
        contents = evaluate(node, inputs, dtypes)
        request, item = any(f.request for f in given), any(f.item for f in given)
        if node.op in ("Shape", "Size") and not node.domain:
            return (self._size_fact(dtypes[0], shapes[0], contents[0], given[0]),)
        claim = self._claim(node, inputs, captures, tuple(shapes))
        varies = any(f.varies for f in given)
        sized = any(f.sized for f in given)
        alike = all(f.axis.alike for f in given if f.axis is not None)
        result = []
        for index, answer in enumerate(claim.outputs):
            fact = Fact(dtypes[index], shapes[index], request=request, item=item, content=contents[index])
            result.append(self._completed(fact, answer, varies, sized, alike))
        return tuple(result)

    def _control_flow(
        self, node: Node, inputs: tuple[Fact | None, ...], captures: tuple[Fact, ...]
    ) -> tuple[Fact, ...]:
        try:
            return body_facts(self, node, inputs, captures)
        except UnprovenError as problem:
            reason = f"{node.where()}: {problem}"
        except Exception as error:  # a body of a kind that we did not foresee must not break the user's run
            _log.warning("internal error in the body of %s: %r", node.where(), error)
            reason = f"{node.where()}: internal error: {error!r}"
        given = [f for f in inputs if f is not None] + list(captures)
        request, item = any(f.request for f in given), any(f.item for f in given)
        first = next((f.opaque for f in given if f.opaque), reason)
        return tuple(Fact(request=request, item=item, opaque=first) for _ in node.outputs)

    def facts_inside(self, node: Node, inputs: tuple[Fact | None, ...], captures: tuple[Fact, ...]) -> tuple[Fact, ...]:
        """The facts of a node of a body, which has to run for one candidate just as it is written.

        Raises:
            UnprovenError: It would have to be changed.
        """
        constant = constant_value(node)
        if constant is not None:
            return (self.constant_fact(Weight.of(constant)),)
        found = self.facts(node, inputs, captures)
        placed = any(f.axis is not None for f in found) and node.kind in TRANSFERS
        if placed and self.claim(node, inputs, tuple(f.shape for f in found)).changes:
            raise UnprovenError(f"its body has numbers of rows written into {node.where()}")
        return found

    def _shapes(self, node: Node, inputs: tuple[Fact | None, ...], inferred: list[Shape | None]) -> list[Shape | None]:
        """Sizes of the outputs.

        In a model of fixed batch the numbers that a Reshape is given may stand for the candidates or not: all sizes
        are numbers there, and where the candidates are follows from positions.
        """
        given = inputs[0] if inputs else None
        if self.batch is None or node.op != "Reshape" or node.domain or given is None or given.axis is None:
            return refine(node, inputs, inferred)
        sizes = [None if f is None else self._with_numbers(f) for f in inputs[1:]]
        inputs = (replace(given, shape=self._numbered(given.shape)), *sizes)
        return [self._numbered(shape) for shape in refine(node, inputs, inferred)]

    def _with_numbers(self, fact: Fact) -> Fact:
        """What a Reshape is given, with sizes that were read off values with candidates as the numbers they are."""
        content = fact.content
        return fact if content is None else replace(fact, content=Content(content.shape, self._numbers(content.items)))

    def _numbers(self, dims: Sequence[Dim]) -> tuple[Dim, ...]:
        assert self.batch is not None
        return tuple(substitute(d, self.batch) for d in dims)

    def _numbered(self, shape: Shape | None) -> Shape | None:
        return None if shape is None else self._numbers(shape)

    def claim(self, node: Node, inputs: tuple[Fact | None, ...], shapes: tuple[Shape | None, ...]) -> Claim:
        """What the table says of a node, with the changes that one candidate needs."""
        if node.op in CONTROL_FLOW:
            return Claim(())
        return TRANSFERS[node.kind](Call(node, self._graph.opset, inputs, shapes, self.batch))

    def _claim(
        self,
        node: Node,
        inputs: tuple[Fact | None, ...],
        captures: tuple[Fact, ...],
        shapes: tuple[Shape | None, ...],
    ) -> Claim:
        given = [f for f in inputs if f is not None] + list(captures)
        known = node.kind in TRANSFERS
        call = Call(node, self._graph.opset, inputs, shapes, self.batch)
        opaque = next((f.opaque for f in given if f.opaque), "")
        if opaque:
            return call.opaque(opaque)
        if node.op in RANDOM and not node.domain:
            return call.opaque(f"{node.where()}: draws random numbers, other ones for each row")
        if any(f.axis is not None for f in given) or _sizes_with_candidates(node, inputs):
            if not known:
                return call.opaque(f"{node.where()}: no transfer function for this operator")
            return _located(node, _judged(call))
        return self._claim_without_candidates(call, given, known)

    def _claim_without_candidates(self, call: Call, given: list[Fact], known: bool) -> Claim:
        node = call.node
        if known and node.op == "Dropout":
            return _located(node, _judged(call))
        sizeless = node.kind in SIZELESS
        unsized = known and not any(call.fact(i).sized for i in SIZING.get(node.kind, ()))
        if any(f.sized for f in given) and not sizeless and not unsized:
            return call.opaque(f"{node.where()}: depends on how many candidates there are")
        if node.captures or not self._types.knows(node) or _is_stateful(node):
            return call.opaque(f"{node.where()}: no transfer function for this operator")
        return call.moved(None)

    def _completed(self, fact: Fact, answer: Lane | Opaque, varies: bool, sized: bool, alike: bool) -> Fact:
        if isinstance(answer, Opaque):
            return replace(fact, opaque=answer.reason)
        if answer.axis is None:
            if fact.shape is not None and any(mentions_candidates(d) for d in fact.shape):
                return replace(fact, opaque="has as many entries as there are candidates, on an axis not traced")
            known = fact.content is not None and not fact.content.depends_on_candidates
            return replace(fact, sized=sized and not known)
        if fact.shape is None or not fact.dtype:
            return replace(fact, opaque="its shape could not be inferred")
        varies = varies or answer.varies
        # Of values that are the same for all candidates, entries by the candidate and nothing else are alike.
        uniform = not varies and (answer.axis.is_whole or (answer.axis.alike and alike))
        axis = replace(answer.axis, alike=uniform)
        shape = (*fact.shape[: axis.index], axis.size, *fact.shape[axis.index + 1 :])
        if any(mentions_candidates(d) for i, d in enumerate(shape) if i != axis.index):
            return replace(fact, opaque="has as many entries as there are candidates on two axes")
        return replace(fact, axis=axis, shape=shape, varies=varies)

    def _size_fact(self, dtype: int, shape: Shape | None, content: Content | None, source: Fact) -> Fact:
        """Sizes are the same for all candidates, but may depend on how many there are."""
        if content is None:
            reason = source.opaque or "the size of a value of unknown rank"
            return Fact(dtype, shape, request=source.request, item=source.item, opaque=reason)
        if source.axis is not None:
            content = replace(content, layout=source.axis.at(0))
        return Fact(dtype, shape, sized=content.depends_on_candidates, content=content)

    def _data(self, node: Node, inputs: tuple[Fact | None, ...]) -> dict[str, onnx.TensorProto]:
        data = {}
        for name, fact in zip(node.inputs, inputs, strict=True):
            if fact is None or fact.content is None or not name:
                continue
            items = fact.content.integers()
            if items is not None:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(fact.dtype)
                data[name] = onnx.numpy_helper.from_array(np.array(items, dtype).reshape(fact.content.shape), name)
        return data


def _hold_for_all(facts: Sequence[Fact]) -> bool:
    """Whether facts name neither the node they were found for nor a size of its own."""
    return not any(f.opaque or any(map(is_underived, f.shape or ())) for f in facts)


def _judged(call: Call) -> Claim:
    """The claim of the table; none where a transfer function breaks, for then nothing is proven."""
    try:
        return TRANSFERS[call.node.kind](call)
    except Exception as error:  # an operator used in a way we did not foresee must not break the user's run
        _log.warning("internal error in the transfer function of %s: %r", call.node.where(), error)
        return call.opaque(f"internal error: {error!r}")


def _sizes_with_candidates(node: Node, inputs: tuple[Fact | None, ...]) -> bool:
    """Whether the entries of an input make an output as large as there are candidates."""
    indices = SIZING.get(node.kind, ())
    facts = [inputs[i] for i in indices if i < len(inputs)]
    return any(f is not None and f.sized for f in facts)


def _is_stateful(node: Node) -> bool:
    return any(isinstance(v, onnx.AttributeProto) for v in node.attrs.values())


def _located(node: Node, claim: Claim) -> Claim:
    """The claim with the node's name in front of each refusal."""
    if not any(isinstance(o, Opaque) for o in claim.outputs):
        return claim
    outputs = tuple(Opaque(f"{node.where()}: {o.reason}") if isinstance(o, Opaque) else o for o in claim.outputs)
    return Claim(outputs, claim.changes)


def _declared(name: str, shape: onnx.TensorShapeProto) -> Shape:
    """The sizes that an input declares; one without a name may differ from any other without a name."""
    return tuple(
        int(d.dim_value) if d.HasField("dim_value") else symbol(d.dim_param or f"axis {index} of {name}")
        for index, d in enumerate(shape.dim)
    )


def _weight_content(weight: Weight) -> Content | None:
    if weight.dtype not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL):
        return None
    return Content.of(weight.load()) if weight.size <= MAX_ITEMS and len(weight.shape) <= 2 else None


@dataclass(frozen=True)
class Analysis:
    """What is proven of every value of a graph.

    Attributes:
        facts: By value name.
        inputs: The sides the inputs were given.
        network: Values and nodes of the graph as a bipartite networkx graph: a value is the string of its name, a
            node its :class:`~mari_onnx.ir.Node`; edges run from inputs to nodes to outputs.
    """

    facts: Mapping[str, Fact]
    inputs: Inputs
    network: nx.DiGraph[Node | str]

    def side(self, value: str) -> Side:
        """The side of a value, which goes by the name it has in the model.

        Raises:
            UsageError: There is no such value.
        """
        if value not in self.facts:
            hint = did_you_mean(value, self.facts)
            raise UsageError(f"the model has no value {value!r}{hint and ':'}{hint or '; `facts` has them all'}")
        return self.facts[value].side

    def values(self, side: Side | str) -> list[str]:
        """The values on one side, in the order they are made.

        Raises:
            UsageError: There is no such side.
        """
        wanted = Side(side)
        return [name for name, fact in self.facts.items() if fact.side is wanted]


def network_of(graph: Graph) -> nx.DiGraph[Node | str]:
    """Values and nodes of a graph as a bipartite directed graph, in the order they can be run."""
    network: nx.DiGraph[Node | str] = nx.DiGraph()
    network.add_nodes_from((name, {"kind": "value"}) for name in (*graph.inputs, *graph.weights))
    for node in graph.sorted_nodes():
        network.add_node(node, kind="node")
        network.add_edges_from((value, node) for value in node.reads)
        for value in node.outputs:
            if value:
                network.add_node(value, kind="value")
                network.add_edge(node, value)
    return network


def analyze_graph(graph: Graph, inputs: Inputs) -> Analysis:
    """Finds the facts of every value.

    Args:
        graph: The graph, not changed.
        inputs: Sides of its inputs.

    Raises:
        ModelError: The graph has a cycle.
    """
    judge = Judge(graph, inputs)
    facts = {name: judge.input_fact(name) for name in graph.inputs}
    facts |= {name: judge.weight_fact(name) for name in graph.weights}
    network = network_of(graph)
    for node in nx.topological_sort(network):
        if isinstance(node, Node):
            given = tuple(facts.get(v, Fact()) if v else None for v in node.inputs)
            captures = tuple(facts.get(v, Fact()) for v in node.captures)
            facts |= {v: f for v, f in zip(node.outputs, judge.facts(node, given, captures), strict=True) if v}
    return Analysis(facts, inputs, network)
