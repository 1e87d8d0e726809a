"""What a rewrite rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from mari_onnx.ir.graph import Node
    from mari_onnx.rewrite.workspace import Workspace

Found = TypeVar("Found")


class Exactness(Enum):
    """How the numbers of a rule compare with those before."""

    EXACT = "exact"
    """The same operations on each element: equal to the last bit."""
    REASSOCIATING = "reassociating"
    """The same sum in another order."""


class Phase(Flag):
    """The engine's phases, in their order; a rule may be tried in several."""

    OPENING = auto()
    """First of all, and whatever it costs: for rivals, as results with and without those are compared."""
    CLEARING = auto()
    """For rules so much use to others that they may cost a little by themselves."""
    EARLY = auto()
    """For rules that show others what is there: on the whole graph, and after every rewrite, before any other."""
    MAIN = auto()
    """Each rule with all that follows from it."""
    CLOSING = auto()
    """When nothing more is found: for rules that save operators and nothing else. What would hide from others what is
    there is tried here only."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule does not apply where a reader might expect it to; shown by ``explain``."""

    reason: str


class Rule(ABC, Generic[Found]):
    """One rewrite: a match and a replacement.

    A rule holds no state: what ``match`` finds is handed to ``rewrite``. It writes plain algebra on whole values, as
    if each had a row for every candidate; the workspace builds user-side results for one candidate by itself.
    """

    name: ClassVar[str]
    """As in ``--disable`` and in reports."""
    algebra: ClassVar[str]
    """The identity behind the rule, in one line."""
    exactness: ClassVar[Exactness]
    ops: ClassVar[frozenset[str]]
    """Operators at which the rule may start; those outside ai.onnx with their domain (``com.microsoft.Attention``)."""
    phases: ClassVar[Phase] = Phase.MAIN
    """When the rule is tried."""

    enabling: ClassVar[bool] = False
    """The rule is of no use by itself: it is kept only where another rule could be applied because of it."""

    rival: ClassVar[bool] = False
    """Other rules often do better without it: graphs that come out with it and without it are compared."""

    keeps_integers: ClassVar[bool] = False
    """Where the runtime computes a node on integers, it does so behind the rule, too, or the rule does it itself."""

    @abstractmethod
    def match(self, node: Node, at: Workspace) -> Found | Refusal | None:
        """Looks at a node without changing anything.

        Args:
            node: A node whose operator is one of ``ops``.
            at: The graph around it.

        Returns:
            What ``rewrite`` needs, a refusal worth telling, or ``None`` where the rule has nothing to do with the
            node.
        """

    @abstractmethod
    def rewrite(self, node: Node, found: Found, at: Workspace) -> Sequence[str]:
        """Builds the replacement.

        Args:
            node: The node that was matched.
            found: What ``match`` returned.
            at: Builds nodes and constants.

        Returns:
            One value for each output of the node, of the same type and shape.
        """
