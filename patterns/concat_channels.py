"""A convolution in groups of channels, of which none has channels of both user and item::

    Conv( Concat(u, i; axis 1), W, b; G groups )   ->   Concat( Conv(u, W_u, b_u; G_u), Conv(i, W_i, b_i; G_i) )

    conv([u, i]; G) = [conv(u; G_u), conv(i; G_i)]

Each group reads its own channels and makes its own. Models write a layer of its own for each field so.
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
    """The parts, how many channels a group reads, and how many it makes."""

    parts: Parts
    read: int
    made: int


class ConcatChannels(Rule[Groups]):
    """Runs the user's groups apart from those of the items."""

    name = "concat-channels"
    algebra = "conv([u, i]; G) = [conv(u; G_u), conv(i; G_i)]"
    exactness = Exactness.EXACT
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Groups | Refusal | None:
        parts, count = mixed_parts(node.inputs[0], at), int(node.attrs.get("group", 1))
        kernel = at.fact(node.inputs[1]).shape
        if (
            parts is None
            or parts.axis != 1
            or count < 2
            or kernel is None
            or not all(map(at.is_weight, node.inputs[1:]))
        ):
            return None
        read, made = parts.total // count, kernel[0] // count
        if any(run.start % read for run in runs_of(parts, at)):
            return Refusal("a group has channels of both user and item")
        return Groups(parts, read, made)

    def rewrite(self, node: Node, found: Groups, at: Workspace) -> Sequence[str]:
        def make(value: str, run: Run) -> str:
            first, count = run.start // found.read * found.made, run.size // found.read
            weights = [cut(weight, 0, first, count * found.made, at) for weight in node.inputs[1:]]
            return at.emit("Conv", [value, *weights], **{**node.attrs, "group": count})

        return [apply_to_runs(found.parts, 1, make, at)]
