"""Times the result against graphs written by hand: `python -m models.measure_references FOLDER [--candidates 64,512]`.

FOLDER holds exports with their descriptions, as `python -m models.export --size industrial --out FOLDER` writes them;
those are taken that have a graph in `models.references`. All run in turn on one thread, each after runs that do not
count; medians. The ratio is the reference's time over the result's: 1 and more is as fast as by hand.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx

from mari_onnx import optimize
from mari_onnx.runtime import session
from models import catalog
from models.references import REFERENCES


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--candidates", default="64,512")
    parser.add_argument("--runs", type=int, default=41)
    args = parser.parse_args(argv)
    numbers = [int(n) for n in args.candidates.split(",")]
    for model in catalog.exported(args.folder):
        if model.name in REFERENCES:
            compare(model, numbers, args.runs)
    return 0


def compare(model: catalog.Exported, numbers: Sequence[int], runs: int) -> None:
    """Print a line for each number of candidates and each way of writing the graph."""
    result = optimize(model.path, list(model.user_inputs), batches=(1, 7), seeds=1).model
    written = {way: build(model) for way, build in REFERENCES[model.name].items()}
    models = {"original": onnx.load(model.path), "result": result, **written}
    sessions = {name: session(m, threads=1) for name, m in models.items()}
    for number in numbers:
        single, full = catalog.draw(model, number, seed=0)
        feeds = {name: full if name == "original" else single for name in sessions}
        taken = _medians({name: partial(s.run, None, feeds[name]) for name, s in sessions.items()}, runs)
        for way in written:
            print(
                f"{model.name:<10} {way:<17} B {number:>5}  original {taken['original']:8.2f} ms"
                f"  result {taken['result']:8.2f}  reference {taken[way]:8.2f}"
                f"  ratio {taken[way] / taken['result']:5.2f}",
                flush=True,
            )


def _medians(sides: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Milliseconds of each side, run in turn: three runs and the last one counts, whoever ran before."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, run in sides.items():
            run()
            run()
            start = time.perf_counter()
            run()
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
