"""A product over items that are multiplied with the user's values first::

    MatMul( q * k, W )                    ->   MatMul( q, k^T * W )
    MatMul( Concat(q, k, q-k, q*k), W )   ->   Gemm( q, (W1+W3) + k^T * W4, C = k (W2-W3) )

    (q * k) W = q (diag(k) W)

``k`` is computed once, and may have an axis of tokens along which ``q`` is repeated, as in attention to a history:
``W`` is then scaled for each token, and one plain product takes each item to all tokens at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._linear import Form, Pieces, combined, is_linear_layer, linear_form, narrowest
from mari_onnx.patterns._parts import joined, one_row, summed
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

MOST_TERMS = 256
"""More are the fields of a model, not what attention makes of two values."""
Scaled = tuple[str, Pieces]
"""What a term is multiplied with (``""`` for nothing), and its rows of the weight."""


@dataclass(frozen=True, slots=True)
class Folded:
    """The operand of a product, sorted.

    Attributes:
        form: The operand as a sum of terms.
        scaled: For each value of the items the terms it occurs in.
        once: Terms that are computed once.
        tokens: Size of the axis of tokens.
    """

    form: Form
    scaled: dict[str, tuple[Scaled, ...]]
    once: tuple[tuple[str, Pieces], ...]
    tokens: object


class FoldIntoWeight(Rule[Folded]):
    """Multiplies a weight with the user's values instead of each item."""

    name = "fold-into-weight"
    algebra = "(q * k) W = q (diag(k) W)"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    rival = True
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Folded | None:
        form = linear_form(node.inputs[0], at)
        if form is None or len(form.terms) > MOST_TERMS or not is_linear_layer(node, at):
            return None
        scaled: dict[str, tuple[Scaled, ...]] = {}
        for value, pieces in form.terms.items():
            if not at.is_once(value):
                item, factor = _factors(value, at)
                scaled[item] = (*scaled.get(item, ()), (factor, pieces))
        once = tuple((v, p) for v, p in form.terms.items() if at.is_once(v))
        tokens = form.shape[-2] if len(form.shape) > 2 else 1
        found = Folded(form, scaled, once, tokens)
        return found if scaled and _fits(found, at) else None

    def rewrite(self, node: Node, found: Folded, at: Workspace) -> Sequence[str]:
        after = at.fact(node.output).shape or ()
        whole = (*found.form.shape[:-1], after[-1])
        wide = product((found.tokens, after[-1]))
        widths = {item: (at.fact(item).shape or ())[-1] for item in found.scaled}
        weights = [_weight(node, terms, widths[item], at) for item, terms in found.scaled.items()]
        weight = at.reshape(joined(weights, 0, at), (sum(widths.values()), wide))
        items = joined(list(found.scaled), len(at.fact(next(iter(found.scaled))).shape or ()) - 1, at)
        items = at.reshape(items, (product(whole[:-2]) if len(whole) > 2 else whole[0], sum(widths.values())))
        fixed = [at.emit("MatMul", [v, combined(node, [(p, (at.fact(v).shape or ())[-1])], at)]) for v, p in found.once]
        bias = [b for b in node.inputs[2:] if b]
        early = [b for b in bias if at.is_once(b) and _is_row(one_row(b, at), at)]
        fixed = [summed([one_row(v, at) for v in (*fixed, *early)], at)] if fixed or early else []
        if fixed and same(product(at.fact(one_row(fixed[0], at)).shape or ()), wide):
            total = at.emit("Gemm", [items, weight, at.reshape(one_row(fixed[0], at), (1, wide))])
            total = at.reshape(total, after)
        else:
            total = at.reshape(at.emit("MatMul", [items, weight]), whole)
            total = at.reshape(summed([total, *(one_row(v, at) for v in fixed)], at), after)
        return [summed([total, *(b for b in bias if b not in early)], at)]


def _factors(value: str, at: Workspace) -> tuple[str, str]:
    """An item's value, and what is computed once and multiplied with it."""
    node = at.graph.producer(value)
    if node is not None and node.op == "Mul" and not node.domain:
        for one, other in (node.inputs, reversed(node.inputs)):
            own, whole = at.fact(one).shape, at.fact(value).shape
            if at.is_once(other) and not at.is_once(one) and own and whole and same(own[-1], whole[-1]):
                return narrowest(one, at), narrowest(other, at)
    return value, ""


def _fits(found: Folded, at: Workspace) -> bool:
    """Whether each item's value lacks the axis of tokens, and all else has no axis but that and the columns."""
    factors = [[factor for factor, _ in terms if factor] for terms in found.scaled.values()]
    if not all(any(_has_tokens(v, found.tokens, at) for v in group) for group in factors):
        return False
    fixed = [v for v, _ in found.once]
    if not all(_is_per_token(v, found.tokens, at) for v in (*fixed, *(v for group in factors for v in group))):
        return False
    lead = found.form.shape[:-2] if len(found.form.shape) > 2 else found.form.shape[:1]
    lead = (*lead, 1) if len(found.form.shape) > 2 else lead
    return all(_is(at.fact(item).shape, lead) for item in found.scaled)


def _is(shape: Shape | None, lead: Shape) -> bool:
    return shape is not None and len(shape) == len(lead) + 1 and all(map(same, shape, lead))


def _is_per_token(value: str, tokens: object, at: Workspace) -> bool:
    shape = at.fact(value).shape
    if not shape or at.fact(value).axis is not None:
        return False
    return all(same(d, 1) for d in shape[:-2]) and (len(shape) < 2 or same(shape[-2], 1) or same(shape[-2], tokens))


def _has_tokens(value: str, tokens: object, at: Workspace) -> bool:
    shape = at.fact(value).shape or ()
    return same(shape[-2] if len(shape) > 1 else 1, tokens)


def _is_row(value: str, at: Workspace) -> bool:
    shape = at.fact(value).shape
    return shape is not None and all(same(d, 1) for d in shape[:-1])


def _weight(node: Node, terms: Iterable[Scaled], width: int, at: Workspace) -> str:
    """The weight of one item's value for each token: columns, tokens, results."""
    blocks = []
    for factor, pieces in terms:
        weight = combined(node, [(pieces, width)], at, apart=True)
        if factor:
            shape = at.fact(factor).shape or ()
            rows, columns = shape[-2] if len(shape) > 1 else 1, shape[-1]
            turned = at.emit("Transpose", [at.reshape(factor, (rows, columns))], perm=[1, 0])
            weight = at.emit("Mul", [at.reshape(turned, (columns, rows, 1)), weight])
        blocks.append(weight)
    return summed(blocks, at)
