"""Export the architectures to ONNX: `python -m models.export [NAME ...]`.

Weights come from a fixed seed, so the same release of PyTorch writes the same files.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from models import ARCHITECTURES, catalog
from models._exporting import OPSETS, Job, export


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m models.export", description="Export ranking models to ONNX.")
    result.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(ARCHITECTURES)}")
    result.add_argument("--size", choices=("small", "industrial"), default="small")
    result.add_argument("--exporter", choices=tuple(OPSETS), help="default: both")
    result.add_argument("--out", type=Path, metavar="DIR", help="default for the small size: models/onnx")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: the number of exports that failed, at most 1."""
    command = parser()
    options = command.parse_args(argv)
    unknown = sorted(set(options.names) - set(ARCHITECTURES))
    if unknown:
        command.error(f"no such architecture: {', '.join(unknown)}")
    if options.size == "industrial" and options.out is None:
        command.error("--size industrial needs --out: these files are too large to be committed")

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about each library it cannot find

    failed = 0
    for name in options.names or ARCHITECTURES:
        for exporter in [options.exporter] if options.exporter else OPSETS:
            job = Job(name, options.size, exporter)
            try:
                path = export(job, options.out or catalog.FOLDER)
            except Exception as error:  # one architecture that an exporter cannot do must not stop the others
                failed += 1
                print(f"{job.name}: {type(error).__name__}: {error}", file=sys.stderr)
            else:
                print(f"{job.name}: {path.stat().st_size:,} bytes")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
