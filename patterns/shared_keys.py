"""Attention of all candidates over keys and values that are the same for each::

    Attention( q: [B, s, d], Expand(K), Expand(V) )   ->   Reshape( Attention( [q_1; q_2; ..]: [1, B s, d], K, V ) )

    attention(q_b, K, V) for all b = attention([q_1; q_2; ..], K, V)

For each query is answered by itself. So the history of the user, and the padding in it, is read once, in one large
product for each head, by the operator that was there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, product, same
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

MULTI_HEAD = "com.microsoft.MultiHeadAttention"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where an operator has its inputs.

    Attributes:
        keys: The mask of the keys, -1 where it has none.
        scores: What is added to the scores, or masks them.
        past: The first of those that go on from earlier queries.
        ordered: Attributes by which the place of a query counts, and their values where it does not.
    """

    keys: int
    scores: int
    past: int
    ordered: Mapping[str, int]


INPUTS: Mapping[str, Inputs] = {
    "Attention": Inputs(-1, 3, 4, {"is_causal": 0, "left_window_size": -1, "right_window_size": -1}),
    MULTI_HEAD: Inputs(4, 5, 6, {"unidirectional": 0}),
}


class SharedKeys(Rule[tuple[str, ...]]):
    """Asks the queries of all candidates at once."""

    name = "shared-keys"
    algebra = "attention(q_b, K, V) for all b = attention([q_1; q_2; ..], K, V)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset(INPUTS)

    def match(self, node: Node, at: Workspace) -> tuple[str, ...] | Refusal | None:
        query, places = at.fact(node.inputs[0]), INPUTS[node.kind]
        if query.axis is None or query.axis.index != 0 or not query.axis.is_whole:
            return None
        if query.shape is None or len(query.shape) not in (3, 4) or not all(map(node.has_input, range(3))):
            return None
        if at.is_once(node.inputs[0]) or not all(_is_one_sample(v, at) for v in node.inputs[1:3]):
            return None
        if any(node.outputs[1:]) or any(node.inputs[places.past :]):
            return Refusal("it goes on from earlier queries, or tells more than what was found")
        if any(int(node.attrs.get(name, free)) != free for name, free in places.ordered.items()):
            return Refusal("a query finds what its place allows")
        if not all(at.is_once(v) for v in node.inputs[3:] if v):
            return Refusal("its mask differs from candidate to candidate")
        keys = [v for v in node.inputs[places.keys : places.keys + 1] if v]
        if any(not _is_one_sample(v, at) or at.fact(v).rank != 2 for v in keys):
            return Refusal("it masks other keys for each query")
        if node.has_input(places.scores):
            mask = at.fact(node.inputs[places.scores]).shape
            if mask is None or len(mask) < 2 or not same(mask[-2], query.shape[-2]):
                return Refusal("its mask does not have a row for each query")
        return tuple(at.single(v) if v else v for v in node.inputs)

    def rewrite(self, node: Node, found: tuple[str, ...], at: Workspace) -> Sequence[str]:
        shape, scores = at.fact(node.inputs[0]).shape, INPUTS[node.kind].scores
        after = at.fact(node.output).shape
        assert shape is not None
        assert after is not None
        batch, count = shape[0], shape[-2]
        inputs = [_in_one_sample(node.inputs[0], at), *found[1:]]
        if node.has_input(scores):
            inputs[scores] = _for_all(found[scores], batch, count, at)
        answers = at.emit(node.op, inputs, domain=node.domain, **dict(node.attrs))
        if len(shape) == 3:
            return [at.reshape(answers, (batch, count, after[-1]))]
        return [at.emit("Transpose", [at.reshape(answers, (shape[1], batch, count, after[-1]))], perm=[1, 0, 2, 3])]


def _is_one_sample(value: str, at: Workspace) -> bool:
    """Whether a value is one sample, repeated for every candidate."""
    axis = at.fact(value).axis
    return at.is_user(value) and axis is not None and axis.index == 0 and axis.is_whole


def _in_one_sample(query: str, at: Workspace) -> str:
    """The queries of all candidates below each other, for each head where they lie apart."""
    shape = at.fact(query).shape
    assert shape is not None
    if len(shape) == 4:
        query = at.emit("Transpose", [query], perm=[1, 0, 2, 3])
    return at.reshape(query, (1, *shape[1:-2], product((shape[0], shape[-2])), shape[-1]))


def _for_all(mask: str, batch: Dim, count: Dim, at: Workspace) -> str:
    """What the scores of one candidate are masked with, for the queries of all."""
    shape = at.fact(mask).shape
    assert shape is not None
    heads = shape[-3] if len(shape) > 2 else 1
    apart = at.reshape(mask, (heads, 1, count, shape[-1]))
    target = at.sizes.vector((heads, batch, count, shape[-1]))
    if target is None:
        raise RuleError("a size that it needs cannot be computed")
    return at.reshape(at.emit("Expand", [apart, target]), (1, heads, product((batch, count)), shape[-1]))
