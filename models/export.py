"""Export the architectures to ONNX: `python -m models.export [NAME ...]`.

Weights come from a fixed seed, so the same release of PyTorch writes the same files; tf2onnx orders nodes in another
way each time. Most architectures need PyTorch with onnxscript, those called `keras_...` need TensorFlow and tf2onnx
instead; what is not installed is said of the exports that need it, and the others are written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models import ARCHITECTURES, KERAS, catalog
from models._exporting import OPSETS, Job, export, exporters

NAMES = (*ARCHITECTURES, *KERAS)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m models.export", description="Export ranking models to ONNX.")
    result.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(NAMES)}")
    result.add_argument("--size", choices=("small", "industrial"), default="small")
    result.add_argument("--exporter", choices=tuple(OPSETS), help="default: all that there are for a NAME")
    result.add_argument("--out", type=Path, metavar="DIR", help="default for the small size: models/onnx")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: the number of exports that failed, at most 1."""
    command = parser()
    options = command.parse_args(argv)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        command.error(f"no such architecture: {', '.join(unknown)}")
    if options.size == "industrial" and options.out is None:
        command.error("--size industrial needs --out: these files are too large to be committed")
    jobs = [
        Job(name, options.size, exporter)
        for name in options.names or NAMES
        for exporter in exporters(name)
        if options.exporter in (None, exporter)
    ]
    if not jobs:
        command.error(f"none of {', '.join(options.names)} goes through {options.exporter}")

    failed = 0
    for job in jobs:
        try:
            path = export(job, options.out or catalog.FOLDER)
        except ModuleNotFoundError as error:
            failed += 1
            print(f"{job.name}: needs {error.name}, which is not installed", file=sys.stderr)
        except Exception as error:  # one architecture that an exporter cannot do must not stop the others
            failed += 1
            print(f"{job.name}: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            print(f"{job.name}: {path.stat().st_size:,} bytes")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
