"""Times exported models before and after: `python -m models.measure [FOLDER] [--candidates 1,64,512]`.

FOLDER holds exports with their descriptions, as `python -m models.export --size industrial --out FOLDER` writes them;
without it the small committed ones are taken. Both sides run in turn on one thread; medians.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mari_onnx import optimize
from mari_onnx.timing import measure
from models import catalog


def users(model: catalog.Exported) -> list[str]:
    """The user-side inputs as one would type them."""
    if not model.user_columns:
        return list(model.user_inputs)
    stacked = next(i["name"] for i in model.inputs if i["side"] == "stacked")
    return [f"{stacked}[:, {','.join(map(str, model.user_columns))}]"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=None)
    parser.add_argument("--candidates", default="64,512")
    args = parser.parse_args(argv)
    numbers = [int(n) for n in args.candidates.split(",")]
    models = catalog.exported(args.folder) if args.folder else catalog.exported()
    for model in models:
        result = optimize(model.path, users(model), batches=(1, 7), seeds=1)
        cells = []
        for number in numbers:
            timing = measure(str(model.path), result.model, users(model), number)
            cells.append(f"{timing.before:8.2f} {timing.after:8.2f} ms {timing.speedup:6.2f}x")
        print(f"{model.name:<28}", " | ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
