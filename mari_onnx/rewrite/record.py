"""What the engine tells of its work."""

from __future__ import annotations

from dataclasses import dataclass, field

from mari_onnx.rewrite.objective import LESS
from mari_onnx.rewrite.registry import AnyRule


@dataclass(frozen=True, slots=True)
class Applied:
    """One application of a rule.

    Attributes:
        rule: Name of the rule.
        algebra: What it does, in one line.
        node: The node it started at.
        removed: Nodes that went.
        added: Nodes that came.
        gain: What it saves, with all that followed from it: estimated microseconds of a request of the nominal size,
            those of smaller ones counted in (see :mod:`mari_onnx.rewrite.objective`).
        step: Number of the outermost application it belongs to, from 1.
    """

    rule: str
    algebra: str
    node: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    gain: float
    step: int


@dataclass(frozen=True)
class Rewritten:
    """The outcome of the rules.

    Attributes:
        applied: Applications that were kept, in order.
        refused: Why a rule did not apply, by rule and node.
        exhausted: Whether trials ran out before nothing was left to try.
        rules: The rules that were tried.
        afterwards: The rules that were tried when those found nothing more.
        trials: How often a rule was tried.
        less: What each size of requests counted, in proportion to the one before.
    """

    applied: tuple[Applied, ...]
    refused: dict[tuple[str, str], str]
    exhausted: bool
    rules: tuple[AnyRule, ...]
    afterwards: tuple[AnyRule, ...] = ()
    trials: int = 0
    less: float = LESS


@dataclass
class Trials:
    """What one run of the engine keeps count of.

    Attributes:
        left: How often rules may still be tried.
        applied: Applications that were kept so far.
        refused: Why rules did not apply so far, by rule and node.
    """

    left: int
    applied: list[Applied] = field(default_factory=list)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
