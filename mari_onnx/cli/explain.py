"""``mari-onnx explain``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Console

from mari_onnx.attainable import Attainable
from mari_onnx.cli.document import check_target, document, emit
from mari_onnx.cli.progress import Stages
from mari_onnx.cli.request import options_of, set_up_logging, show_notes
from mari_onnx.cli.tables import console, count, line, several, size, table
from mari_onnx.explain import Explanation, explain
from mari_onnx.leftovers import Leftover
from mari_onnx.load import load_model

SIDES = {
    "user": "user: the same for all candidates",
    "item": "item: depends on items alone",
    "cross": "both: depends on user and item",
    "shared": "given once already",
    "opaque": "nothing is proven",
}
SHORT = 10
"""Rows shown without ``-v``."""


def run(args: argparse.Namespace) -> int:
    """Optimizes without writing, and tells what happened."""
    set_up_logging(args)
    check_target(args)
    with Stages(args.quiet) as tell:
        tell("load")
        found = explain(load_model(args.input), options_of(args, verify=False), run=args.probe, progress=tell)
    show_notes(found.notes, args.quiet)
    if args.json is not None:
        emit(document("explain", "done", input=args.input, **found.to_json()), args.json)
    if args.json != "-" and not args.quiet:
        _show(console(), found, args.verbose)
    return 0


def _show(out: Console, found: Explanation, verbose: bool) -> None:
    for section in (_inputs, _sides, _lost, _rules, _refusals, _leftovers, _item_only, _findings):
        section(out, found, verbose)


def _heading(out: Console, text: str) -> None:
    out.print()
    line(out, text, style="bold underline")


def _inputs(out: Console, found: Explanation, verbose: bool) -> None:
    for side, title in (("user", "user inputs"), ("item", "item inputs"), ("shared", "given once")):
        names = [name for name, s in found.inputs.items() if s == side]
        if names:
            line(out, f"{title}: {', '.join(names)}")


def _sides(out: Console, found: Explanation, verbose: bool) -> None:
    _heading(out, f"The original, B={found.candidates}")
    flops = sum(share.flops for share in found.sides.values()) or 1.0
    time = sum(share.microseconds for share in found.sides.values()) or 1.0
    rows = [
        (title, str(s.values), str(s.nodes), count(s.flops), f"{s.flops / flops:.0%}", f"{s.microseconds / time:.0%}")
        for name, title in SIDES.items()
        for s in [found.sides[name]]
    ]
    columns = ("", "values", "nodes", "FLOP", "of all FLOP", "of the time")
    table(out, columns, rows, numbers=(1, 2, 3, 4, 5))
    line(out, f"times are estimates for one request of {several(found.candidates, 'candidate')}, in microseconds (us)")


def _lost(out: Console, found: Explanation, verbose: bool) -> None:
    if not found.lost:
        return
    _heading(out, "Where candidates are lost sight of")
    shown = found.lost if verbose else found.lost[:SHORT]
    rows = [(_time(one.microseconds), count(one.flops), str(one.nodes), one.reason) for one in shown]
    table(out, ("time behind it", "FLOP", "nodes", "at, and why"), rows, numbers=(0, 1, 2))
    _more(out, len(found.lost), verbose)
    line(out, "rules may find them again: what counts is what is left in the result, below")


def _rules(out: Console, found: Explanation, verbose: bool) -> None:
    before, after = found.report.before, found.report.after
    _heading(out, "The rules")
    rows = [(use.rule, str(use.times), _time(use.microseconds), use.exactness, use.algebra) for use in found.rules]
    if rows:
        table(out, ("rule", "applied", "time saved", "exactness", "algebra"), rows, numbers=(1, 2))
        line(out, "time saved: with that of the rewrites which were tried and kept together with it")
    line(
        out,
        f"{count(before.flops)} FLOP become {count(after.flops)}, {several(before.nodes, 'node')} become {after.nodes}",
    )
    if verbose:
        for one in found.applied:
            line(out, f"  {one.step}. {one.rule} at {one.node}: {one.algebra} ({one.gain:.1f} us)")


def _refusals(out: Console, found: Explanation, verbose: bool) -> None:
    if not found.refused:
        return
    _heading(out, "Not applied, and why")
    if verbose:
        table(out, ("rule", "at", "reason"), [(r.rule, r.node, r.reason) for r in found.refused])
        return
    times = Counter((r.rule, r.reason) for r in found.refused)
    first = {(r.rule, r.reason): r.node for r in reversed(found.refused)}
    rows = [(rule, str(n), reason, first[rule, reason]) for (rule, reason), n in times.most_common()]
    table(out, ("rule", "nodes", "reason", "first at"), rows[:SHORT], numbers=(1,))
    _more(out, len(rows))


def _leftovers(out: Console, found: Explanation, verbose: bool) -> None:
    _heading(out, "Still done for every candidate, though it need not be")
    if not found.leftovers:
        line(out, "nothing that we know of")
        return
    shown = found.leftovers if verbose else found.leftovers[:SHORT]
    table(out, ("time", "FLOP", "written", "in the way", "why"), _leftover_rows(shown), numbers=(0, 1, 2))
    _more(out, len(found.leftovers), verbose)


def _leftover_rows(shown: Iterable[Leftover]) -> Iterator[tuple[str, ...]]:
    for left in shown:
        more = f" ({len(left.nodes)} nodes)" if len(left.nodes) > 1 else ""
        cost = (_time(left.microseconds), count(left.flops) if left.flops else "", size(left.bytes))
        yield (*cost, left.node, f"{left.kind.value}: {left.reason}{more}")


def _item_only(out: Console, found: Explanation, verbose: bool) -> None:
    if not found.item_only:
        return
    _heading(out, "Depends on items alone: could be worked out beforehand and stored for each item")
    rows = [
        (_time(one.microseconds), count(one.flops) if one.flops else "", size(one.bytes), one.node, one.value)
        for one in (found.item_only if verbose else found.item_only[:SHORT])
    ]
    table(out, ("time", "FLOP", "to store per item", "made by", "value"), rows, numbers=(0, 1, 2))
    _more(out, len(found.item_only), verbose)


def _findings(out: Console, found: Explanation, verbose: bool) -> None:
    if found.findings is None:
        return
    _heading(out, "Seen in a run")
    bugs = [f for f in found.findings if f.is_bug]
    missed = sorted((f for f in found.findings if not f.is_bug), key=lambda f: -f.bytes)
    for finding in bugs:
        line(out, f"BUG, please report: {finding.value} of {finding.node} was proven to be the same, but varies")
    if found.attainable is not None:
        _attainable(out, found.attainable, verbose)
    if not missed:
        line(out, "every value that was the same for all candidates was proven to be")
        return
    rows = [
        (f.value, f.node, SIDES[f.side.value].partition(":")[0], size(f.bytes))
        for f in (missed if verbose else missed[:SHORT])
    ]
    line(out, f"the same for all {missed[0].candidates} candidates, though that was not proven:")
    table(out, ("value", "made by", "analysis says", "size"), rows, numbers=(3,))
    _more(out, len(missed), verbose)


def _attainable(out: Console, could: Attainable, verbose: bool) -> None:
    if could.reached is None:
        line(out, "no product has an operand that is the same whatever the items are")
        return
    share = could.attainable / could.before
    line(
        out,
        f"of {count(could.before)} FLOP, {count(could.attainable)} ({share:.0%}) need not be repeated for each item",
    )
    line(out, _reached(could, could.reached))
    if verbose:
        rows = [(n.node, count(n.flops), f"{n.share:.0%}") for n in could.nodes if n.share]
        table(out, ("product", "FLOP", "need not be repeated"), rows, numbers=(1, 2))


def _reached(could: Attainable, reached: float) -> str:
    """What the result saves, beside what it could."""
    saved = could.before - could.after
    if saved < 0:
        return f"the result saves none of that, and has {count(-saved)} FLOP more"
    if reached <= 1.005:
        return f"the result saves {count(saved)} FLOP, which is {reached:.0%} of that"
    more = count(saved - could.attainable)
    return f"the result saves {count(saved)} FLOP, {more} more than that: rules save other work, too"


def _time(microseconds: float) -> str:
    return f"{microseconds:.1f} us"


def _more(out: Console, total: int, verbose: bool = False) -> None:
    if total > SHORT and not verbose:
        line(out, f"... and {total - SHORT} more (-v shows all)")
