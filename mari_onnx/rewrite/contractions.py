"""Einsums of several operands, two at a time: so ONNX Runtime runs them, from the left to the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contraction:
    """The letters of two operands and of what is made of them."""

    left: str
    right: str
    made: str

    @property
    def equation(self) -> str:
        return f"{self.left},{self.right}->{self.made}"


def contracted(left: str, right: str, needed: str) -> Contraction:
    """Two operands, of which letters are kept that are needed later: those of both, of the left one, of the right."""
    both = [x for x in left if x in right]
    own = [x for x in left if x not in right]
    letters = [*both, *own, *(x for x in right if x not in left)]
    return Contraction(left, right, "".join(dict.fromkeys(x for x in letters if x in needed)))


def from_left(terms: Sequence[str], result: str) -> Iterator[Contraction]:
    """The contractions of an equation as ONNX Runtime does them, the last of which makes the result."""
    made = terms[0]
    for place, term in enumerate(terms[1:], start=1):
        later = "".join(terms[place + 1 :])
        step = contracted(made, term, result + later) if later else Contraction(made, term, result)
        made = step.made
        yield step
