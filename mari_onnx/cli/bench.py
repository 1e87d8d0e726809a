"""``mari-onnx bench``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mari_onnx.benchmark.plot import check_plot, plot
from mari_onnx.benchmark.report import MEANINGS, BenchReport, Timed
from mari_onnx.benchmark.run import bench
from mari_onnx.cli.document import check_target, document, emit
from mari_onnx.cli.progress import Stages
from mari_onnx.cli.request import disabled_of, read_samples, set_up_logging, show_notes
from mari_onnx.cli.tables import console, count, line, milliseconds, several, table
from mari_onnx.errors import UsageError

COLUMNS = ("candidates", "side", "median", "quartiles", "candidates/s", "over vanilla", "of the floor's speed")


def run(args: argparse.Namespace) -> int:
    """Times all sides."""
    set_up_logging(args)
    check_target(args)
    if args.plot is not None:
        check_plot(args.plot)
        check_target(args, "plot")
    if args.result is not None and (args.disable or args.optimize_for is not None):
        raise UsageError("--disable and --optimize-for are for optimizing A, and there is B already")
    with Stages(args.quiet) as tell:
        report = bench(
            args.model,
            args.result,
            args.user,
            candidates=args.candidates,
            threads=args.threads,
            provider=args.provider,
            seconds=args.seconds,
            progress=tell,
            optimize_for=args.optimize_for,
            item_inputs=args.item,
            disable=disabled_of(args),
            verify=not args.no_verify,
            samples=read_samples(args.samples),
        )
    show_notes(report.notes, args.quiet)
    if args.json is not None:
        emit(document("bench", "done", input=args.model, result=args.result, **report.to_json()), args.json)
    if args.plot is not None:
        plot(report, args.plot, Path(args.model).stem)
    if args.json != "-" and not args.quiet:
        _show(report, args.plot)
    return 0


def _show(report: BenchReport, plotted: str | None) -> None:
    out = console()
    where = report.machine.device or report.machine.processor
    line(out, f"{report.provider} on {where}, ONNX Runtime {report.machine.onnxruntime}")
    for threads in dict.fromkeys(one.threads for one in report.measured):
        out.print()
        line(out, several(threads, "thread"), style="bold underline")
        rows = [_row(one) for one in report.measured if one.threads == threads]
        table(out, COLUMNS, rows, numbers=(0, 2, 3, 4, 5, 6))
    out.print()
    for side in report.sides:
        line(out, f"{side}: {MEANINGS[side]}")
    if plotted is not None:
        line(out, f"written: {plotted}")


def _row(one: Timed) -> tuple[str, ...]:
    low, high = one.quartiles
    return (
        str(one.candidates),
        one.side,
        milliseconds(one.milliseconds),
        f"{low:.3g} to {high:.3g}",
        count(one.candidates_per_second),
        f"{one.over_vanilla:.3g}x",
        "" if one.of_floor is None else f"{one.of_floor:.2f}",
    )
