"""What verification found, for people and for programs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mari_onnx.errors import VerificationError
from mari_onnx.verification.compare import Comparison
from mari_onnx.verification.source import Array

SUSPICIOUS = 30.0
"""Times further from float64 than the original."""
SUSPICIOUS_SCALE = 2e-6
"""Of the output's magnitude: what another order of additions may cost."""


class Float64Error(NamedTuple):
    """Largest absolute error against a float64 run of the original."""

    optimized: float
    original: float


class Choices(NamedTuple):
    """Entries of an output of integers that are others in a float64 run of the original, out of so many."""

    optimized: int
    original: int
    entries: int


class Numbers(NamedTuple):
    """The extremes of so many numbers."""

    least: float
    greatest: float
    entries: int


@dataclass(frozen=True)
class OutputReport:
    """One output over all runs.

    Attributes:
        name: the output.
        max_abs: largest absolute error, None where types or shapes differ or it is no number.
        max_rel: largest relative error; large near zero, so no reason to worry by itself.
        scale: largest magnitude in the original.
        error_vs_float64: errors of both models against float64, None without such a run.
        mismatch: what is wrong and in which run, None when all agrees.
        choices: of an output of integers with a mismatch, what float64 makes of it; None without such a run.
        nudged: how far the original goes when its weights are moved by their last bit; None where that was not run.
        numbers: those that the original made, None where it made none.
    """

    name: str
    max_abs: float | None = None
    max_rel: float | None = None
    scale: float | None = None
    error_vs_float64: Float64Error | None = None
    mismatch: str | None = None
    choices: Choices | None = None
    nudged: float | None = None
    numbers: Numbers | None = None

    def with_run(self, found: Comparison, where: str) -> OutputReport:
        """The report with one more run; the first mismatch stays.

        Args:
            found: the comparison of that run.
            where: names the run, such as "batch 7, seed 0".
        """
        merged = self
        if found.difference is not None:
            merged = replace(
                merged,
                max_abs=_larger(self.max_abs, found.difference.max_abs),
                max_rel=_larger(self.max_rel, found.difference.max_rel),
                scale=_larger(self.scale, found.difference.scale),
            )
        if found.optimized_error is not None and found.original_error is not None:
            old = self.error_vs_float64 or Float64Error(0.0, 0.0)
            merged = replace(
                merged,
                error_vs_float64=Float64Error(
                    max(old.optimized, found.optimized_error), max(old.original, found.original_error)
                ),
            )
        return merged.failed(found.mismatch, where) if found.mismatch else merged

    def with_numbers(self, expected: Array) -> OutputReport:
        """The report with the numbers that the original has made in one more run."""
        numbers = expected[~np.isnan(expected)] if expected.dtype.kind == "f" else expected
        if expected.dtype.kind not in "fiub" or not numbers.size:
            return self
        old = self.numbers or Numbers(math.inf, -math.inf, 0)
        least, greatest = min(old.least, float(numbers.min())), max(old.greatest, float(numbers.max()))
        return replace(self, numbers=Numbers(least, greatest, old.entries + numbers.size))

    def failed(self, mismatch: str, where: str) -> OutputReport:
        """The report with a mismatch, unless it has one already."""
        return self if self.mismatch else replace(self, mismatch=f"{mismatch} ({where})")

    @property
    def sameness(self) -> str:
        """A sentence where the original made one number alone, as behind a dead ReLU: another model does so, too."""
        made = self.numbers
        if self.mismatch or made is None or made.entries < 2 or made.least != made.greatest:
            return ""
        return f"output {self.name} was {made.least:g} everywhere in all runs, which says little; give samples"

    @property
    def drift(self) -> str:
        """A sentence where a small fault may hide within the tolerance, which shows beside float64; empty otherwise."""
        errors = self.error_vs_float64
        if self.mismatch or errors is None:
            return ""
        if errors.optimized <= SUSPICIOUS * errors.original + SUSPICIOUS_SCALE * (self.scale or 0.0):
            return ""
        return (
            f"output {self.name} is within tolerance, but its error against float64 is {errors.optimized:.2g},"
            f" the original's {errors.original:.2g}"
        )


def _larger(old: float | None, new: float) -> float:
    return new if old is None else max(old, new)


SENSITIVE = 1e-5
"""An original that is this much of its outputs' magnitude off float64 has lost two digits to rounding, or more."""
LIKE_ROUNDING = 30.0
"""Times as far off float64 as the original, a result is off for rounding of its own."""
LIKE_CHOICES = 4
"""The same for entries that are others."""
WORTHLESS = 0.1
"""A tolerance of this much of the outputs' magnitude compares nothing."""
TIES = "whether such ties matter, --samples of real requests show, and --no-verify writes the result as it is"


@dataclass(frozen=True)
class VerifyReport:
    """The verdict.

    Attributes:
        passed: no output has a mismatch.
        outputs: one report per output of the original.
        ranking_unchanged: candidates keep their order in each score; None when no output is a ranking.
        batches: the batch sizes that were run.
        seeds: the number of seeds per batch size.
        runs: the number of compared runs.
        notes: sentences about what the reader should know.
        restless: a sentence where the original does not agree with itself, looked for where they differ.
    """

    passed: bool
    outputs: tuple[OutputReport, ...]
    ranking_unchanged: bool | None
    batches: tuple[int, ...]
    seeds: int
    runs: int
    notes: tuple[str, ...] = ()
    restless: str = ""

    @property
    def sensitivity(self) -> str:
        """A sentence where an output differs that rounding moves by as much; empty otherwise."""
        return next(filter(None, map(_sensitivity, self.outputs)), "")

    def summary(self) -> str:
        """The verdict on one line."""
        if not self.passed:
            first = next(output for output in self.outputs if output.mismatch)
            wrong = sum(output.mismatch is not None for output in self.outputs)
            return f"FAILED: {wrong} of {len(self.outputs)} outputs differ; {first.name}: {first.mismatch}"
        errors = [output.max_abs for output in self.outputs if output.max_abs is not None]
        parts = [f"max abs error {max(errors):.2g}"] if errors else []
        if self.ranking_unchanged is not None:
            parts.append("ranking unchanged" if self.ranking_unchanged else "ranking CHANGED")
        sizes = ", ".join(map(str, self.batches))
        runs = f"{self.runs} runs at batch {sizes}"
        count = len(self.outputs)
        return f"verified: {count} output{'s' if count != 1 else ''}, {', '.join([runs, *parts])}"

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values; numbers that JSON lacks become null."""
        return {
            "passed": self.passed,
            "ranking_unchanged": self.ranking_unchanged,
            "batches": list(self.batches),
            "seeds": self.seeds,
            "runs": self.runs,
            "notes": list(self.notes),
            "outputs": [_output_json(output) for output in self.outputs],
        }


def _sensitivity(output: OutputReport) -> str:
    errors, scale = output.error_vs_float64, output.scale or 0.0
    if output.mismatch is None:
        return ""
    if output.choices is not None and 0 < output.choices.optimized <= LIKE_CHOICES * output.choices.original:
        optimized, original, entries = output.choices
        return (
            f"rounding decides what the model chooses: against float64 {original} of {entries} entries of {output.name}"
            f" are others in the original as well, {optimized} in the result; {TIES}"
        )
    if output.nudged:
        return _sensitivity_when_nudged(output, output.nudged)
    if errors is None or errors.original <= SENSITIVE * scale or errors.optimized > LIKE_ROUNDING * errors.original:
        return ""
    seen = f"against float64 the original is {errors.original:.2g} off in {output.name} as well, the result"
    allowed = 2 * (errors.original + errors.optimized)
    if allowed > WORTHLESS * scale:
        return f"rounding decides what the model chooses: {seen} {errors.optimized:.2g}; {TIES}"
    enough = f"where that is good enough, say --atol {allowed:.1g}"
    return f"the model amplifies rounding: {seen} {errors.optimized:.2g}; {enough}"


def _sensitivity_when_nudged(output: OutputReport, nudged: float) -> str:
    """The same for a model that rounds to integers while it runs."""
    off = output.max_abs
    if off is None or off > LIKE_ROUNDING * nudged or 2 * off > WORTHLESS * (output.scale or 0.0):
        return ""
    return (
        f"the model amplifies rounding, as it rounds to integers while it runs: weights moved by their last bit change "
        f"{output.name} by {nudged:.2g} in the original, the result is {off:.2g} off; where that is good enough, "
        f"say --atol {2 * off:.1g}"
    )


def _output_json(output: OutputReport) -> dict[str, Any]:
    errors = output.error_vs_float64
    return {
        "name": output.name,
        "max_abs": _plain(output.max_abs),
        "max_rel": _plain(output.max_rel),
        "scale": _plain(output.scale),
        "error_vs_float64": errors and {"optimized": _plain(errors.optimized), "original": _plain(errors.original)},
        "mismatch": output.mismatch,
    }


def _plain(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def require(report: VerifyReport) -> None:
    """Turns a failed report into an error, for callers that want one.

    Args:
        report: the report.

    Raises:
        VerificationError: the models differ.
    """
    if not report.passed:
        raise VerificationError(report.summary())
