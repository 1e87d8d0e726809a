"""A normalization of groups of channels, of which none has channels of both user and item::

    GroupNormalization( Concat(u, i; axis 1), g, b )      ->   Concat( GroupNormalization(u, g_u, b_u), the same of i )
    InstanceNormalization( Concat(u, i; axis 1), g, b )   ->   the same: each channel is a group

    GN([u, i]) = [GN(u), GN(i)]

Each group is normalised by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, Run, apply_to_runs, cut, mixed_parts, runs_of
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Groups:
    """The parts, and how many channels make a group."""

    parts: Parts
    size: int


class ConcatGroupnorm(Rule[Groups]):
    """Normalises the user's groups apart from those of the items."""

    name = "concat-groupnorm"
    algebra = "GN([u, i]) = [GN(u), GN(i)]"
    exactness = Exactness.EXACT
    ops = frozenset({"GroupNormalization", "InstanceNormalization"})

    def match(self, node: Node, at: Workspace) -> Groups | Refusal | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or parts.axis != 1:
            return None
        if not all(at.is_once(v) and at.fact(v).shape == (parts.total,) for v in node.inputs[1:]):
            return Refusal("its scale and bias do not have an entry for each channel")
        size = parts.total // int(node.attrs.get("num_groups", parts.total))
        if any(run.start % size for run in runs_of(parts, at)):
            return Refusal("a group has channels of both user and item")
        return Groups(parts, size)

    def rewrite(self, node: Node, found: Groups, at: Workspace) -> Sequence[str]:
        def make(value: str, run: Run) -> str:
            inputs, attrs = [value], dict(node.attrs)
            inputs += [cut(parameter, 0, run.start, run.size, at) for parameter in node.inputs[1:]]
            if "num_groups" in attrs:
                attrs["num_groups"] = run.size // found.size
            return at.emit(node.op, inputs, **attrs)

        return [apply_to_runs(found.parts, 1, make, at)]
