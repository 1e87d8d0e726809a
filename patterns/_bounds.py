"""How small and how large the entries of an integer value may be, read off the operators that make it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Bounds = tuple[int, int]

MAX_DEPTH = 40
"""What lies further up is not looked at."""

TYPES: dict[int, Bounds] = {
    onnx.TensorProto.BOOL: (0, 1),
    onnx.TensorProto.UINT8: (0, 2**8 - 1),
    onnx.TensorProto.INT8: (-(2**7), 2**7 - 1),
    onnx.TensorProto.UINT16: (0, 2**16 - 1),
    onnx.TensorProto.INT16: (-(2**15), 2**15 - 1),
    onnx.TensorProto.UINT32: (0, 2**32 - 1),
    onnx.TensorProto.INT32: (-(2**31), 2**31 - 1),
    onnx.TensorProto.INT64: (-(2**63), 2**63 - 1),
}


def bounds_of(value: str, at: Workspace) -> Bounds:
    """The smallest and the largest number that the entries of an integer value may be; those of its type at worst."""
    return _Reading(at).of(value)


class _Reading:
    """Reads each value once."""

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._known: dict[str, Bounds] = {}

    def of(self, value: str, depth: int = 0) -> Bounds:
        if value not in self._known:
            self._known[value] = self._found(value, depth)
        return self._known[value]

    def _found(self, value: str, depth: int) -> Bounds:
        at = self._at
        whole = TYPES.get(at.fact(value).dtype, TYPES[onnx.TensorProto.INT64])
        array = at.constant(value) if at.is_weight(value) else None
        if array is not None:
            return (int(array.min()), int(array.max())) if array.size and array.dtype.kind in "iub" else whole
        node = at.graph.producer(value)
        reader = READERS.get(node.op) if node is not None and not node.domain else None
        if node is None or reader is None or depth > MAX_DEPTH or at.fact(value).dtype not in TYPES:
            return whole
        found = reader(node, value, lambda v: self.of(v, depth + 1), at)
        # What may leave the range of its type may come back at the other end of it.
        return found if found is not None and whole[0] <= found[0] <= found[1] <= whole[1] else whole


Reader = Callable[[Node, str, Callable[[str], Bounds], Workspace], Bounds | None]


def _union(bounds: Sequence[Bounds]) -> Bounds:
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _moved(node: Node, _value: str, of: Callable[[str], Bounds], _at: Workspace) -> Bounds:
    """Entries of the first input, in another place."""
    return of(node.inputs[0])


def _joined(node: Node, _value: str, of: Callable[[str], Bounds], _at: Workspace) -> Bounds:
    return _union([of(v) for v in node.inputs])


def _either(node: Node, _value: str, of: Callable[[str], Bounds], _at: Workspace) -> Bounds:
    return _union([of(v) for v in node.inputs[1:]])


def _cast(node: Node, _value: str, of: Callable[[str], Bounds], at: Workspace) -> Bounds | None:
    return of(node.inputs[0]) if at.fact(node.inputs[0]).dtype in TYPES else None


def _ends(combine: Callable[[int, int], int]) -> Reader:
    """A function of two inputs that is largest and smallest where they are."""

    def reader(node: Node, _value: str, of: Callable[[str], Bounds], _at: Workspace) -> Bounds | None:
        if len(node.inputs) != 2:
            return None
        left, right = map(of, node.inputs)
        ends = [combine(a, b) for a in left for b in right]
        return min(ends), max(ends)

    return reader


def _summed(node: Node, value: str, of: Callable[[str], Bounds], at: Workspace) -> Bounds | None:
    before, after = at.fact(node.inputs[0]).shape, at.fact(value).shape
    axes = at.axes(node)
    if before is None or after is None or not axes:
        return None
    counts = [before[axis] for axis in axes]
    if not all(isinstance(c, int) for c in counts):
        return None
    low, high = of(node.inputs[0])
    return low * math.prod(counts), high * math.prod(counts)


def _remainder(node: Node, _value: str, of: Callable[[str], Bounds], _at: Workspace) -> Bounds | None:
    """The sign of the remainder is that of the divisor."""
    low, high = of(node.inputs[1])
    return (0, high - 1) if low > 0 and not node.attrs.get("fmod", 0) else None


def _place(node: Node, value: str, _of: Callable[[str], Bounds], at: Workspace) -> Bounds | None:
    """Where along an axis an entry was found."""
    if node.op == "TopK" and value != node.outputs[1]:
        return None
    shape = at.fact(node.inputs[0]).shape
    size = shape[int(node.attrs.get("axis", -1 if node.op == "TopK" else 0))] if shape else None
    return 0, size - 1 if isinstance(size, int) and size > 0 else TYPES[onnx.TensorProto.INT64][1]


READERS: dict[str, Reader] = {
    **dict.fromkeys((*VIEWS, "Expand", "Tile", "Transpose", "Identity", "Slice", "Split", "Gather"), _moved),
    "Concat": _joined,
    "Where": _either,
    "Cast": _cast,
    "Add": _ends(lambda a, b: a + b),
    "Sub": _ends(lambda a, b: a - b),
    "Mul": _ends(lambda a, b: a * b),
    "Min": _ends(min),
    "Max": _ends(max),
    "ReduceSum": _summed,
    "Mod": _remainder,
    **dict.fromkeys(("TopK", "ArgMax", "ArgMin"), _place),
}
