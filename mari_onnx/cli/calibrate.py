"""``mari-onnx calibrate``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from mari_onnx.calibration import PRICES, Calibration, calibrate
from mari_onnx.calibration.cache import cache_file, keep, machine
from mari_onnx.cli.document import check_target, document, emit
from mari_onnx.cli.progress import Stages
from mari_onnx.cli.request import set_up_logging, show_notes
from mari_onnx.cli.tables import console, line, table
from mari_onnx.rewrite.cost import CostModel


def run(args: argparse.Namespace) -> int:
    """Measures the prices of this machine, keeps and shows them."""
    set_up_logging(args)
    check_target(args)
    with Stages(args.quiet) as tell:
        found = calibrate(progress=lambda done, total: tell(f"calibrate: {done} of {total} samples"))
    kept = keep(found.prices)
    show_notes([] if kept else [f"the prices could not be kept in {cache_file()}"], args.quiet)
    if args.json is not None:
        emit(_document(found, kept), args.json)
    if args.json != "-" and not args.quiet:
        _show(found, kept)
    return 0


def _document(found: Calibration, kept: bool) -> dict[str, Any]:
    prices = {name: value for name, value in asdict(found.prices).items() if name in PRICES}
    errors = {"error_before": found.error_before, "error_after": found.error_after}
    place = str(cache_file()) if kept else None
    return document("calibrate", "done", machine=machine(), prices=prices, file=place, samples=found.samples, **errors)


def _show(found: Calibration, kept: bool) -> None:
    out, usual = console(), CostModel()
    rows = [(name, f"{getattr(usual, name):.4g}", f"{getattr(found.prices, name):.4g}") for name in PRICES]
    line(out, machine())
    table(out, ("price", "usual", "here"), rows, numbers=(1, 2))
    out.print()
    line(
        out,
        f"median error over {found.samples} single operators: {found.error_after:.0%}, "
        f"{found.error_before:.0%} with the usual prices",
    )
    if kept:
        line(out, f"kept in {cache_file()}, for optimize and explain --calibrated")
