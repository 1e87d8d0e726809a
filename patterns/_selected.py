"""Single entries of a value along an axis, as a model takes its fields one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mari_onnx.ir.dims import product
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a value, without the axis that it lies on.

    Attributes:
        source: The value.
        axis: The axis.
        index: Which entry it is.
    """

    source: str
    axis: int
    index: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries of a value that follow each other, or what is no entry of anything."""

    values: tuple[str, ...]
    first: Entry | None


def entry_of(value: str, at: Workspace) -> Entry | None:
    """The entry that a value is, where candidates do not lie along that axis."""
    node = at.graph.producer(value)
    if node is None or node.op != "Gather" or node.domain or at.fact(node.inputs[1]).shape != ():
        return None
    fact, numbers = at.fact(node.inputs[0]), at.integers(node.inputs[1])
    if not fact.shape or not numbers or fact.opaque:
        return None
    axis = int(node.attrs.get("axis", 0)) % len(fact.shape)
    size = fact.shape[axis]
    if not isinstance(size, int) or (fact.axis is not None and fact.axis.index == axis):
        return None
    return Entry(node.inputs[0], axis, numbers[0] % size)


def stretches(values: tuple[str, ...], axis: int, at: Workspace) -> Iterator[Stretch]:
    """Values joined on an axis, those together that follow each other where they come from."""
    held: list[str] = []
    first: Entry | None = None
    for value in values:
        entry = entry_of(value, at)
        if entry is not None and entry.axis != axis:
            entry = None
        if first is None or entry != Entry(first.source, first.axis, first.index + len(held)):
            if held:
                yield Stretch(tuple(held), first)
            held, first = [], entry
        held.append(value)
    if held:
        yield Stretch(tuple(held), first)


def laid_flat(value: str, axis: int, at: Workspace) -> str:
    """A value with its entries along an axis laid out along the one behind it."""
    shape = at.fact(value).shape
    assert shape is not None
    return at.reshape(value, (*shape[:axis], product(shape[axis : axis + 2]), *shape[axis + 2 :]))
