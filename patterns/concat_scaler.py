"""Columns that are scaled each by itself, as preprocessing of scikit-learn is exported::

    Scaler( Concat(u, i) )   ->   Concat( Scaler(u), Scaler(i) )

([u, i] - o) s = [(u - o_u) s_u, (i - o_i) s_i]

Likewise Imputer. Their parameters are attributes, one for all columns or one for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.transfer.learned import DOMAIN
from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, Run, apply_to_runs, mixed_parts
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

BY_COLUMN = {
    f"{DOMAIN}.Scaler": ("offset", "scale"),
    f"{DOMAIN}.Imputer": ("imputed_value_floats", "imputed_value_int64s"),
}
"""Attributes that have one entry, or one for each column."""


class ConcatScaler(Rule[Parts]):
    """Scales the parts of a Concat instead of the whole."""

    name = "concat-scaler"
    algebra = "([u, i] - o) s = [(u - o_u) s_u, (i - o_i) s_i]"
    exactness = Exactness.EXACT
    ops = frozenset(BY_COLUMN)

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or parts.rank != 2 or parts.axis != 1:
            return None
        lengths = [len(node.attrs[name]) for name in BY_COLUMN[node.kind] if node.attrs.get(name)]
        return parts if all(length in (1, parts.total) for length in lengths) else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        def make(value: str, run: Run) -> str:
            attrs = dict(node.attrs)
            for name in BY_COLUMN[node.kind]:
                if len(attrs.get(name) or ()) > 1:
                    attrs[name] = list(attrs[name])[run.start : run.start + run.size]
            return at.emit(node.op, [value], domain=node.domain, **attrs)

        return [apply_to_runs(found, 1, make, at)]
