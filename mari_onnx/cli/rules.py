"""``mari-onnx rules``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from mari_onnx.cli.document import check_target, document, emit
from mari_onnx.cli.tables import console, table
from mari_onnx.rewrite.registry import AnyRule, all_rules


def run(args: argparse.Namespace) -> int:
    """Lists the rules in the order in which they are tried."""
    check_target(args)
    rules = all_rules()
    if args.json is not None:
        listed = [
            {"name": r.name, "exactness": r.exactness.value, "algebra": r.algebra, "operators": sorted(r.ops)}
            for r in rules
        ]
        emit(document("rules", "done", rules=listed), args.json)
    if args.markdown:
        print(markdown(rules))
    elif args.json != "-":
        rows = [(r.name, r.exactness.value, r.algebra) for r in rules]
        table(console(), ("rule", "exactness", "algebra"), rows)
    return 0


def markdown(rules: Iterable[AnyRule]) -> str:
    """The rules as a table for the README."""
    bar = "\\|"
    rows = [f"| `{r.name}` | `{r.algebra.replace('|', bar)}` | {r.exactness.value} |" for r in rules]
    return "\n".join(["| rule | what it does | |", "|---|---|---|", *rows])
