"""The resolved sides of a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class InputSide(Enum):
    """How an input is fed."""

    USER = "user"
    """One row per request, repeated for every candidate."""
    ITEM = "item"
    """One row per candidate."""
    SHARED = "shared"
    """No candidate axis: given once per request already."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Which side each input is on, and where its candidates lie.

    Attributes:
        sides: Side by input name, in the order of the model.
        axes: Candidate axis by input name, for user and item inputs.
        batch: The number of candidates, where the model was exported with a fixed one.
        notes: Sentences for the user: what was guessed, and how to say it for sure.
    """

    sides: Mapping[str, InputSide]
    axes: Mapping[str, int]
    batch: int | None = None
    notes: tuple[str, ...] = field(default=())

    def on(self, side: InputSide) -> list[str]:
        return [name for name, s in self.sides.items() if s is side]
