"""What a run in double precision says of outputs that differ: whether rounding decides them in the original, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mari_onnx.verification.compare import Tolerance, compare_arrays
from mari_onnx.verification.report import Choices, OutputReport
from mari_onnx.verification.source import Array

Outputs = Mapping[str, Array]


def beside_float64(
    reports: Mapping[str, OutputReport], expected: Outputs, actual: Outputs, truth: Outputs
) -> dict[str, OutputReport]:
    """Adds a run on many candidates to the reports of outputs that differ; their mismatch stays the first one.

    Args:
        reports: all outputs by name.
        expected: the original's outputs.
        actual: the optimized model's.
        truth: those of the original in double precision.

    Returns:
        The reports of the outputs that differ.
    """
    return {
        name: _beside(report, expected[name], actual[name], truth[name])
        for name, report in reports.items()
        if report.mismatch is not None and all(name in outputs for outputs in (expected, actual, truth))
    }


def _beside(report: OutputReport, expected: Array, actual: Array, truth: Array) -> OutputReport:
    if not expected.shape == actual.shape == truth.shape:
        return report
    if expected.dtype.kind in "biu":
        wrong, own = (int((array != truth).sum()) for array in (actual, expected))
        return replace(report, choices=Choices(wrong, own, expected.size))
    found = compare_arrays(expected, actual, Tolerance(0.0, 0.0), truth)
    return report.with_run(replace(found, mismatch=None, difference=None), "")
