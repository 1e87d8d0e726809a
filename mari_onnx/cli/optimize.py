"""``mari-onnx optimize``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from mari_onnx.cli.arguments import spare_word_hint
from mari_onnx.cli.document import check_target, document, emit
from mari_onnx.cli.progress import Stages
from mari_onnx.cli.request import comparison_of, options_of, set_up_logging, show_notes
from mari_onnx.cli.tables import console, count, factor, line, listed, milliseconds, several, table
from mari_onnx.cli.watch import tell_files
from mari_onnx.errors import MariError, UsageError
from mari_onnx.load import load_model
from mari_onnx.pipeline import OptimizeResult
from mari_onnx.pipeline import run as optimize
from mari_onnx.runtime import onnxruntime
from mari_onnx.save import ExternalData, Output
from mari_onnx.timing import Timing, try_to_measure
from mari_onnx.tuning import Alternative, Tuned


def run(args: argparse.Namespace) -> int:
    """Rewrites, verifies, writes and reports."""
    target = _target(args)
    set_up_logging(args)
    check_target(args)
    tune = () if args.tune is None else args.tune or (args.candidates,)
    options = options_of(
        args, keep_signature=args.keep_signature, tune=tune, verify=not args.no_verify, **comparison_of(args)
    )
    if options.verify or options.tune:
        onnxruntime()
    stages = Stages(args.quiet)
    with stages as tell:
        tell("load")
        loaded = load_model(args.input)
    with _output(args, target, loaded) as output, _saying_what_was_written(output, target):
        tell_files(*output.temporary_files)
        with stages as tell:
            result = optimize(loaded, options, tell, output.stage)
            timing, problem = None, ""
            if args.benchmark:
                tell("benchmark")
                staged = output.stage(result.model)
                timing, problem = try_to_measure(args.input, staged, result.report.user_inputs, args.candidates)
            tell("write")
            output.stage(result.model)
            output.commit()
        notes = [*result.notes, *output.notes, *([problem] if problem else [])]
        show_notes(notes, args.quiet)
        if args.json is not None:
            emit(_document(args, target, result, timing, notes), args.json)
        if args.json != "-" and not args.quiet:
            _show(args, target, result, timing)
            sys.stdout.flush()
    return 0


@contextlib.contextmanager
def _saying_what_was_written(output: Output, target: str) -> Iterator[None]:
    """What stops the command while it tells of a result that has its name already says so."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(*_written(output, target)) from stop
    except MariError as error:
        raise type(error)("; ".join([str(error), *_written(output, target)])) from error


def _written(output: Output, target: str) -> tuple[str, ...]:
    return (f"{target} was written",) if output.written else ()


def _target(args: argparse.Namespace) -> str:
    given = [name for name in (args.output, args.output_option) if name is not None]
    if len(given) != 1:
        said = f", or -o OUT; '{given[0]}' and '{given[1]}' are two{spare_word_hint(args)}" if given else ""
        raise UsageError(f"name one file to write: mari-onnx optimize IN OUT{said}")
    return str(given[0])


def _output(args: argparse.Namespace, target: str, loaded: Any) -> Output:
    return Output(
        target,
        loaded,
        overwrite=args.overwrite,
        external=ExternalData(args.external_data) if args.external_data else None,
        outside=args.save_as_external_data,
    )


def _document(
    args: argparse.Namespace, target: str, result: OptimizeResult, timing: Timing | None, notes: list[str]
) -> dict[str, Any]:
    return document(
        "optimize",
        "done",
        input=args.input,
        output=target,
        report=result.report.to_json(),
        rewrites=[
            {"step": a.step, "rule": a.rule, "node": a.node, "algebra": a.algebra, "microseconds": a.gain}
            for a in result.applied
        ],
        verification=result.verification.to_json() if result.verification is not None else None,
        timing=timing.to_json() if timing is not None else None,
        tuning=result.tuned.to_json() if result.tuned is not None else None,
        notes=list(dict.fromkeys(notes)),
    )


def _show(args: argparse.Namespace, target: str, result: OptimizeResult, timing: Timing | None) -> None:
    out, report = console(), result.report
    table(out, ("", "before", "after", ""), _rows(result, timing), numbers=(1, 2))
    out.print()
    line(out, f"user inputs: {listed(report.user_inputs)}; the others are the items'")
    rewrites = ", ".join(f"{name} {times}" for name, times in report.rewrites.items())
    line(out, f"rewrites: {rewrites or 'none'}")
    if result.tuned is not None:
        line(out, f"tuned: {_tuning(result.tuned)}")
        for other in result.tuned.alternatives if args.verbose else ():
            line(out, f"  {other.name}: {_speedups(other)}")
    if args.verbose:
        for applied in result.applied:
            line(out, f"  {applied.step}. {applied.rule} at {applied.node}: {applied.algebra}")
    line(out, result.verification.summary() if result.verification is not None else "not verified")
    if args.verbose and result.verification is not None:
        for one in result.verification.outputs:
            line(out, f"  {one.name}: max abs error {one.max_abs}, scale {one.scale}")
    line(out, f"written: {target}")


def _tuning(tuned: Tuned) -> str:
    chosen, *others = tuned.alternatives
    timed = f"{several(len(others), 'other')} timed" if others else "nothing else to time"
    return f"{chosen.name}, {_speedups(chosen)} ({timed})"


def _speedups(one: Alternative) -> str:
    return ", ".join(f"{speed:.2f}x at {number}" for number, speed in one.speedup.items())


def _rows(result: OptimizeResult, timing: Timing | None) -> list[tuple[str, str, str, str]]:
    before, after, at = result.report.before, result.report.after, f"B={result.report.candidates}"
    rows = [
        ("nodes", str(before.nodes), str(after.nodes), ""),
        (f"FLOP per request, {at}", count(before.flops), count(after.flops), factor(before.flops, after.flops)),
        ("repetitions of user values", str(before.expands), str(after.expands), ""),
    ]
    if timing is not None:
        label = f"time per request, B={timing.candidates}, 1 thread"
        speed = f"{timing.speedup:.3g}x faster" if timing.speedup >= 1 else f"{1 / timing.speedup:.3g}x slower"
        rows.append((label, milliseconds(timing.before), milliseconds(timing.after), speed))
    return rows
