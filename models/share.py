"""What could run once per request, and what does: `python -m models.share [FOLDER ...]`.

Prints the table of docs/attainable.md. A FOLDER holds exports with their descriptions, as those in models/onnx and
what `python -m models.export` writes. A run with one user and random items shows which entries of each product's
operands do not depend on the items.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mari_onnx.attainable import Attainable
from mari_onnx.explain import Explanation, explain
from mari_onnx.leftovers import Leftover
from mari_onnx.options import Options
from models import catalog
from models.measure import users

ENOUGH = 0.95
"""What falls short of this is explained."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--candidates", type=int, default=512)
    args = parser.parse_args(argv)
    models = [m for folder in args.folders or [catalog.FOLDER] for m in catalog.exported(folder)]
    print("| model | MFLOP | attainable | MFLOP after | share reached |\n|---|--:|--:|--:|--:|", flush=True)
    shares, notes = [], []
    for model in models:
        found = explain(model.path, Options(user_inputs=users(model), candidates=args.candidates), run=True)
        could = found.attainable
        if could is None or could.reached is None:
            continue
        shares.append(could.reached)
        print(row(model.name, could), flush=True)
        if could.reached < ENOUGH:
            notes += [f"- `{model.name}`: {reason}" for reason in reasons(found)]
    if shares:
        print(f"\nMedian {statistics.median(shares):.2f}, lowest {min(shares):.2f}, of {len(shares)} models.")
    if notes:
        print("\nWhat is in the way where less than 0.95 is reached:\n", *notes, sep="\n")
    return 0


def row(name: str, could: Attainable) -> str:
    """One line of the table."""
    cells = (
        f"`{name}`",
        f"{could.before / 1e6:.1f}",
        f"{could.attainable / could.before:.0%}",
        f"{could.after / 1e6:.1f}",
        f"{could.reached:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def reasons(found: Explanation) -> Iterator[str]:
    """The nodes in the way, the largest loss first."""
    left: list[Leftover] = sorted((one for one in found.leftovers if one.flops), key=lambda one: -one.flops)
    for one in left[:3]:
        yield f"{one.flops / 1e6:.2f} MFLOP at {one.node}: {one.reason}"


if __name__ == "__main__":
    sys.exit(main())
