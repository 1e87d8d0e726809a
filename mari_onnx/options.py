"""How to optimize: the options of a run, checked once for the command line and for Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mari_onnx.checks import (
    check_flag,
    check_names,
    check_number,
    check_numbers,
    check_samples,
    check_tolerance,
    did_you_mean,
)
from mari_onnx.errors import UsageError
from mari_onnx.rewrite.cost import CostModel


@dataclass(frozen=True)
class Options:
    """How to optimize.

    Attributes:
        user_inputs: Names, globs or columns of user-side inputs, or several with commas; ``None`` to find out.
        item_inputs: The same for item-side inputs.
        keep_signature: Inputs keep all their rows; row 0 is taken inside.
        disable: Names of rules to leave out.
        candidates: Nominal number of candidates per request, for estimates.
        prices: What operators take on the machine that will run the result; those of the package by default.
        tune: Numbers of candidates at which to time alternatives and take the fastest; empty to trust estimates.
        verify: Whether to compare the result with the original.
        batches: Numbers of candidates to compare at; ``None`` for 1, 2, 7 and 64, but those at which the original would
            run very long.
        seeds: How many random inputs to compare at each.
        samples: Inputs of the original model to compare on instead of random ones.
        rtol: Tolerance relative to the magnitude of a column of scores.
        atol: Absolute tolerance.

    Raises:
        UsageError: A value makes no sense.
    """

    user_inputs: Sequence[str] | None = None
    item_inputs: Sequence[str] | None = None
    keep_signature: bool = False
    disable: Sequence[str] = ()
    candidates: int = 512
    prices: CostModel = field(default_factory=CostModel)
    tune: Sequence[int] = ()
    verify: bool = True
    batches: Sequence[int] | None = None
    seeds: int = 2
    samples: Mapping[str, Any] | None = None
    rtol: float = 1e-4
    atol: float = 1e-5

    def __post_init__(self) -> None:
        check_flag("keep_signature", self.keep_signature)
        check_flag("verify", self.verify)
        check_names("disable", self.disable)
        check_number("candidates", self.candidates)
        check_numbers("tune", self.tune)
        check_numbers("batches", () if self.batches is None else self.batches)
        check_number("seeds", self.seeds)
        check_samples(self.samples)
        check_tolerance("rtol", self.rtol)
        check_tolerance("atol", self.atol)
        if not isinstance(self.prices, CostModel):
            raise UsageError(f"prices are a mari_onnx.rewrite.cost.CostModel, not {self.prices!r}")

    @property
    def cost_model(self) -> CostModel:
        """The prices, for the nominal number of candidates."""
        return replace(self.prices, candidates=self.candidates)


def options_from(function: Callable[..., object], given: Mapping[str, Any]) -> Options:
    """The options that a function was called with.

    Raises:
        TypeError: There is no option of that name, as Python says of arguments.
        UsageError: A value makes no sense.
    """
    known = [option.name for option in fields(Options)]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, [*known, *inspect.signature(function).parameters])
            raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{name}'{hint and ';'}{hint}")
    return Options(**given)
