"""A product over a sum of rows, some of which are multiplied with a number of their own::

    MatMul( x * s + x + c, W )             ->   MatMul( x, W ) * (1 + s) + c W         x: [.., n], s: [.., 1]
    Gemm( Concat(x * s + c, h), W, b )     ->   MatMul( x, W_x ) * s + MatMul( h, W_h ) + (c W_x + b)

    (s x + c) W = s (x W) + c W

A cross network is made of such sums: each layer adds the features, times one number for each candidate, to what the
layers before have made. Where only products read them, no such sum is made any more, and the products that are left
are over the features, so they fall apart into the user's and the items'. ``c`` may also be a row of the user. Rows
that are scaled and nothing else are left to ``row-scale``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import chain

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._linear import Pieces, combined, is_linear_layer
from mari_onnx.patterns._parts import joined, mixed_parts, one_row, summed
from mari_onnx.patterns._scaled_sums import Coefficient, Summand, summands
from mari_onnx.patterns.chained_products import through
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ScaledSum(Rule[tuple[Summand, ...]]):
    """Multiplies the rows that a sum is made of, and scales and adds up what comes of them."""

    name = "scaled-sum"
    algebra = "(s x + c) W = s (x W) + c W"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> tuple[Summand, ...] | None:
        if at.fact(node.output).dtype not in PRECISE or not is_linear_layer(node, at):
            return None
        found = summands(node.inputs[0], at)
        scaled = [s for s in found if any(not at.is_once(n) for numbers, _ in s.coefficient for n in numbers)]
        different = {numbers for s in found for numbers, _ in s.coefficient}
        if len(different) < 2 or all(at.is_once(s.rows) for s in found):
            return None
        mixed = any(at.is_once(s.rows) or mixed_parts(s.rows, at) is not None for s in scaled)
        return found if mixed and all(never_infinite(n, at) for n in dict.fromkeys(chain(*different))) else None

    def rewrite(self, node: Node, found: tuple[Summand, ...], at: Workspace) -> Sequence[str]:
        bias = [node.inputs[2]] if node.has_input(2) else []
        fixed = [_product(node, [s], at) for s in found if s.is_plain and at.is_once(s.rows)]
        fixed = _summed_once([*fixed, *(b for b in bias if at.is_once(b))], at)
        groups: dict[Coefficient, list[Summand]] = {}
        for s in found:
            if not s.is_plain:
                groups.setdefault(s.coefficient, []).append(s)
        products = [at.emit("Mul", [_product(node, own, at), _computed(c, node, at)]) for c, own in groups.items()]
        rest = [s for s in found if s.is_plain and not at.is_once(s.rows)]
        products += [_product(node, rest, at)] if rest else []
        return [summed([*products, *fixed, *(b for b in bias if not at.is_once(b))], at)]


def _product(node: Node, group: Sequence[Summand], at: Workspace) -> str:
    """The product of summands that are multiplied with the same; what is one row for all goes by itself."""
    lead = (at.fact(node.inputs[0]).shape or ())[:-1]
    wide = [s for s in group if alike((at.fact(s.rows).shape or ())[:-1], lead)]
    products = []
    if wide:
        weight = combined(node, [(_pieces(s), s.size) for s in wide], at)
        products.append(at.emit("MatMul", [joined([s.rows for s in wide], len(lead), at), weight]))
    rows = [s for s in group if s not in wide]
    products += [through(one_row(s.rows, at), combined(node, [(_pieces(s), s.size)], at), at) for s in rows]
    return summed(products, at)


def _pieces(summand: Summand) -> Pieces:
    """The rows of the weight that a summand meets; a constant that it is multiplied with goes into them."""
    factor = sum(factor for _, factor in summand.coefficient) if summand.is_plain else 1.0
    return ((summand.start, factor, ()),)


def _computed(coefficient: Coefficient, node: Node, at: Workspace) -> str:
    """The numbers that the rows of a product are multiplied with."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(at.fact(node.output).dtype)
    # With all its axes a constant stays as it is: then sums of several layers are found to begin alike.
    axes = (1,) * len(at.fact(node.output).shape or ())
    terms = []
    for numbers, factor in coefficient:
        constant = [at.weight(np.full(axes, factor, kind))] if factor != 1.0 or not numbers else []
        terms.append(reduce(lambda a, b: at.emit("Mul", [a, b]), [*numbers, *constant]))
    return summed(terms, at)


def _summed_once(values: Sequence[str], at: Workspace) -> list[str]:
    """The sum of what is computed once, if there is anything; constants are added up when the model is optimized."""
    constants = [v for v in values if at.is_weight(v)]

    def total() -> np.ndarray:
        arrays = [a for a in map(at.constant, constants) if a is not None]
        return np.asarray(sum(a.astype(np.float64) for a in arrays), arrays[0].dtype)

    others = [one_row(v, at) for v in values if v not in constants]
    if len(constants) > 1:
        constants = [at.cached_weight(("sum", *constants), total, f"{constants[0]}/sum")]
    return [summed([*others, *constants], at)] if values else []
