"""How the windows of convolutions and pooling lie along an axis."""

from __future__ import annotations

from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Window:
    """How windows lie along an axis of ``size`` entries.

    Attributes:
        size: Entries of the axis.
        kernel: Entries that a window looks at.
        step: From one of them to the next.
        stride: From one window to the next.
        before: Entries that are padded in front.
        behind: Entries that are padded at the end.
    """

    size: int
    kernel: int
    step: int
    stride: int
    before: int
    behind: int

    @property
    def reach(self) -> int:
        """From the first entry of a window to behind its last."""
        return (self.kernel - 1) * self.step + 1

    @property
    def count(self) -> int:
        """How many windows there are."""
        return (self.size + self.before + self.behind - self.reach) // self.stride + 1

    def entries(self, first: int, last: int) -> tuple[int, int]:
        """What the windows from one up to, not including, another look at; padding counts as below 0 and beyond."""
        start = first * self.stride - self.before
        return start, (last - 1) * self.stride - self.before + self.reach

    def inside(self, start: int, end: int) -> tuple[int, int]:
        """The windows that look at entries from ``start`` up to ``end`` and at padding, and at nothing else."""
        first = 0 if start == 0 else -(-(start + self.before) // self.stride)
        last = self.count if end == self.size else (end - self.reach + self.before) // self.stride + 1
        return first, max(first, last)


def window_of(node: Node, parts: Parts, at: Workspace) -> Window | None:
    """How the windows of an operator lie along the joined axis, ``None`` where that depends on other things."""
    place, spatial = parts.axis - 2, parts.rank - 2
    if node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.attrs.get("ceil_mode", 0):
        return None
    kernel = node.attrs.get("kernel_shape")
    if node.op == "Conv":
        if not all(map(at.is_weight, filter(None, node.inputs[1:]))):
            return None
        kernel = (at.fact(node.inputs[1]).shape or ())[2:]
    if not kernel or not isinstance(kernel[place], int):
        return None
    step, stride = (int(list(node.attrs.get(name, [1] * spatial))[place]) for name in ("dilations", "strides"))
    pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * spatial))]
    window = Window(parts.total, int(kernel[place]), step, stride, pads[place], pads[place + spatial])
    # Windows of nothing but padding would be windows over no entry at all.
    return window if max(window.before, window.behind) < window.reach else None
