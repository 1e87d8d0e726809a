"""``mari-onnx verify``."""

from __future__ import annotations

import argparse

from mari_onnx.cli.document import check_target, document, emit
from mari_onnx.cli.progress import Stages
from mari_onnx.cli.request import comparison_of, set_up_logging, show_notes
from mari_onnx.cli.tables import console, line, table
from mari_onnx.load import load_model
from mari_onnx.verification import OutputReport, VerifyReport, verify


def run(args: argparse.Namespace) -> int:
    """Compares two models."""
    set_up_logging(args)
    check_target(args)
    comparison = comparison_of(args)
    with Stages(args.quiet) as tell:
        tell("load")
        for path in (args.original, args.optimized):
            load_model(path)
        report = verify(
            args.original,
            args.optimized,
            user_inputs=args.user,
            progress=lambda line: tell(f"verify: {line}"),
            **comparison,
        )
    show_notes(report.notes, args.quiet)
    if args.json is not None:
        status = "done" if report.passed else "verification failed"
        emit(
            document("verify", status, original=args.original, optimized=args.optimized, verification=report.to_json()),
            args.json,
        )
    if args.json != "-" and not (args.quiet and report.passed):
        _show(report)
    return 0 if report.passed else 1


def _show(report: VerifyReport) -> None:
    out = console()
    columns = ("output", "max abs error", "max rel error", "original vs float64", "result vs float64", "")
    table(out, columns, [_row(o) for o in report.outputs], numbers=(1, 2, 3, 4))
    out.print()
    line(out, report.summary())


def _row(output: OutputReport) -> tuple[str, ...]:
    errors = output.error_vs_float64
    exact = (_number(errors.original), _number(errors.optimized)) if errors is not None else ("", "")
    return (output.name, _number(output.max_abs), _number(output.max_rel), *exact, output.mismatch or "equal")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
