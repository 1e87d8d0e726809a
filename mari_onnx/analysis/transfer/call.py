"""What a transfer function is given, and what it answers.

A transfer function makes one claim about an operator: *for each candidate, the slice of the output is what the same
operator makes of the inputs' slices for that candidate* (inputs without candidate axis are taken whole). Where this
holds, it says on which axis of the output the candidates lie, and what must change in the node when it runs for one
candidate. Where it does not hold, it says why. Nothing else in the analysis knows about operators.

The idea is that of JAX's batching rules (``jax.interpreters.batching``), read backwards: there a batch axis is put
in, here the one that is in is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mari_onnx.analysis.facts import CandidateAxis, Content, Fact, Shape
from mari_onnx.ir.dims import CANDIDATES, Dim, product, same
from mari_onnx.ir.graph import Node


@dataclass(frozen=True, slots=True)
class Opaque:
    """No claim is made, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The output's candidates lie on ``axis``.

    Attributes:
        axis: ``None`` where the output has no candidate axis any more (a maximum over equal candidates, say).
        varies: The slices differ even where those of the inputs do not, as in the numbers of the candidates.
    """

    axis: CandidateAxis | None
    varies: bool = False


@dataclass(frozen=True, slots=True)
class SetEntry:
    """For one candidate, entry ``entry`` of the sizes in input ``index`` is ``value``."""

    index: int
    entry: int
    value: Dim


@dataclass(frozen=True, slots=True)
class SetInput:
    """For one candidate, input ``index`` is this list of integers."""

    index: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SetAttribute:
    """For one candidate, an attribute has another value."""

    name: str
    value: Any


Change: TypeAlias = SetEntry | SetInput | SetAttribute


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer: one lane (or refusal) per output, and what changes for one candidate."""

    outputs: tuple[Lane | Opaque, ...]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One node to be judged.

    Attributes:
        node: The node.
        opset: Version of ai.onnx.
        inputs: Facts of the inputs; ``None`` for absent ones.
        shapes: Shapes of the outputs as inferred, ``None`` where unknown.
        batch: The number of candidates where the model was exported with a fixed one.
    """

    node: Node
    opset: int
    inputs: tuple[Fact | None, ...]
    shapes: tuple[Shape | None, ...]
    batch: int | None = None
    memo: dict[str, Any] = field(default_factory=dict, compare=False)

    def fact(self, index: int) -> Fact:
        """The fact of an input that the operator requires."""
        fact = self.inputs[index] if index < len(self.inputs) else None
        return fact if fact is not None else Fact()

    def axis(self, index: int) -> CandidateAxis | None:
        return self.fact(index).axis

    def content(self, index: int) -> Content | None:
        return self.fact(index).content

    def integers(self, index: int) -> tuple[int, ...] | None:
        """The entries of an input, where all are known numbers."""
        return self.fact(index).integers

    def attr(self, name: str, default: Any) -> Any:
        return self.node.attrs.get(name, default)

    def given(self) -> Iterator[tuple[int, Fact]]:
        """The inputs that are there."""
        return ((i, f) for i, f in enumerate(self.inputs) if f is not None)

    def carriers(self) -> list[int]:
        """Indices of the inputs that have a candidate axis."""
        return [i for i, f in self.given() if f.axis is not None]

    @property
    def candidates(self) -> Dim:
        """How many candidates there are."""
        return CANDIDATES if self.batch is None else self.batch

    def is_all(self, size: Dim, axis: CandidateAxis) -> bool:
        """Whether a size is that of the whole candidate axis."""
        return same(size, axis.size) or (self.batch is not None and same(size, product((axis.single, self.batch))))

    @property
    def varies(self) -> bool:
        return any(f.varies for _, f in self.given())

    def all_outputs(self, answer: Lane | Opaque, *changes: Change) -> Claim:
        return Claim((answer,) * len(self.node.outputs), changes)

    def moved(self, axis: CandidateAxis | None, *changes: Change) -> Claim:
        return self.all_outputs(Lane(axis), *changes)

    def opaque(self, reason: str) -> Claim:
        return self.all_outputs(Opaque(reason))

    def positive(self, axis: int, rank: int | None = None) -> int:
        """An axis counted from the front; by default an axis of the first input."""
        if axis >= 0:
            return axis
        known = rank if rank is not None else self.fact(0).rank
        return axis + (known or 0)

    def only(self, allowed: Sequence[int], what: str) -> Claim | None:
        """A refusal if an input outside ``allowed`` has a candidate axis."""
        if any(i not in allowed for i in self.carriers()):
            return self.opaque(f"{what} with a candidate axis")
        return None


Transfer: TypeAlias = Callable[[Call], Claim]
Table: TypeAlias = dict[str, Transfer]

UNKNOWN_RANK = "the rank of an input is unknown"
OVER_CANDIDATES = "works along the candidate axis"
TWO_AXES = "its inputs have their candidates on different axes"
