"""Where axes go: those of a node's inputs and outputs that belong together bear one label, as letters of an Einsum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Label = int | None
"""Axes of one number go together; the order of entries along an axis without one matters."""
Row = tuple[Label, ...]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of the axes of all inputs and outputs of a node.

    Entries may be put in another order along all axes of a label: results are the same in that order. Along a label
    that only inputs have is summed over; along one that an input lacks it is repeated.

    Attributes:
        inputs: Those of each input.
        outputs: Those of each output.
        mixed: Labels along which an entry of a result is made of others, too. Along all others it is made of nothing
            but the same entry of the inputs that have them.
    """

    inputs: tuple[Row, ...]
    outputs: tuple[Row, ...]
    mixed: frozenset[int] = frozenset()

    def sources(self, axis: int) -> dict[int, int] | None:
        """The axes that go with one of the first output, by input; ``None`` where the order along it matters."""
        label = self.outputs[0][axis]
        return None if label is None else {i: row.index(label) for i, row in enumerate(self.inputs) if label in row}

    def apart(self, wanted: Mapping[int, T]) -> list[dict[int, T]] | None:
        """What is wanted along axes of the first output, for the axes of each input; ``None`` where that takes all."""
        found: list[dict[int, T]] = [{} for _ in self.inputs]
        for axis, piece in wanted.items():
            sources = self.sources(axis)
            if sources is None or self.outputs[0][axis] in self.mixed:
                return None
            for index, own in sources.items():
                found[index][own] = piece
        return found

    def target(self, index: int, axis: int) -> int | None:
        """The axis of the first output that goes with one of an input."""
        label = self.inputs[index][axis]
        return self.outputs[0].index(label) if label is not None and label in self.outputs[0] else None
