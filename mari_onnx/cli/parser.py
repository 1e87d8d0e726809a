"""The arguments of all verbs. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from mari_onnx import __version__
from mari_onnx.cli.arguments import Help, Parser

EXIT = "exit status: 0 done; 1 verification failed, nothing written; 2 usage, or a file or model that cannot be used"

DESCRIPTION = """\
A ranking model scores many candidate items for one user. mari-onnx rewrites an exported one so that
what depends on the user alone runs once per request, not once per candidate."""

EXAMPLES = f"""\
examples:
  mari-onnx optimize in.onnx out.onnx --user 'user_*'
  mari-onnx explain in.onnx --user 'user_*'
  mari-onnx verify in.onnx out.onnx
  mari-onnx bench in.onnx --user 'user_*'

`mari-onnx VERB --help` says more.
{EXIT}"""

OPTIMIZE = f"""\
examples:
  mari-onnx optimize in.onnx out.onnx --user 'user_*',ctx_hour
  mari-onnx optimize in.onnx out.onnx --user 'X[:, 0:12,20]'     columns of one stacked input
  mari-onnx optimize in.onnx out.onnx --tune 1,64,512            for requests of these sizes, by timing
  mari-onnx optimize in.onnx out.onnx --keep-signature           for callers that cannot change
  mari-onnx optimize in.onnx out.onnx --samples batch.npz        verify on inputs of your own
  mari-onnx optimize in.onnx out.onnx --json - | jq .report

The JSON document is described in docs/json.md.
{EXIT}"""

EXPLAIN = f"""\
examples:
  mari-onnx explain in.onnx --user 'user_*'
  mari-onnx explain in.onnx --user 'user_*' -v           each rewrite, and each node that was refused
  mari-onnx explain in.onnx --user 'user_*' --probe      run it, too: what is equal, though not proven?

The JSON document is described in docs/json.md.
{EXIT}"""

VERIFY = f"""\
examples:
  mari-onnx verify in.onnx out.onnx
  mari-onnx verify in.onnx out.onnx --batch 1,100,512 --seeds 5
  mari-onnx verify in.onnx out.onnx --samples batch.npz --rtol 1e-5

A is fed with the user's row repeated for every candidate, B with one row.
{EXIT}"""

BENCH = f"""\
examples:
  mari-onnx bench in.onnx --user 'user_*'
  mari-onnx bench in.onnx out.onnx                       the second as it is
  mari-onnx bench in.onnx --candidates 64,512 --threads 1,4 --provider cuda
  mari-onnx bench in.onnx --plot times.svg --json times.json

sides:
  vanilla    as exported
  one-shot   work on the user alone runs once, no rule is applied
  full       optimized; with a second model, that one, called result
  floor      full (or result) with the user's inputs frozen: what is left when the user's side costs nothing

ONNX Runtime's own optimizations are on for all sides, which run in turn; each timed run comes after one that
does not count. The JSON document is described in docs/json.md.
{EXIT}"""

CALIBRATE = f"""\
examples:
  mari-onnx calibrate
  mari-onnx optimize in.onnx out.onnx --user 'user_*' --calibrated

Takes about a second. The prices are kept for this processor and version of ONNX Runtime; without --calibrated the
same prices are used on all machines, so that results do not depend on where they were made.
{EXIT}"""

RULES = """\
example:
  mari-onnx rules --json - | jq -r '.rules[].name'"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of ``mari-onnx``."""
    parser = Parser(
        prog="mari-onnx",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mari-onnx {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, files, summary, epilog, fill in (
        ("optimize", "IN OUT", "rewrite a model, verify the result, write it", OPTIMIZE, _optimize),
        ("explain", "IN", "what is user-side, what the rules did, what is still in the way", EXPLAIN, _explain),
        ("verify", "A B", "compare an optimized model with its original in ONNX Runtime", VERIFY, _verify),
        ("bench", "A [B]", "time a model as exported, hoisted, optimized, and without its user side", BENCH, _bench),
        ("calibrate", "", "measure what operators take on this machine", CALIBRATE, _calibrate),
        ("rules", "", "list the rewrite rules", RULES, _rules),
    ):
        verb = verbs.add_parser(
            name,
            usage=" ".join(["%(prog)s", *files.split(), "[options]"]),
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=epilog,
            formatter_class=Help,
            allow_abbrev=False,
        )
        fill(verb)
    return parser


def _optimize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="the exported model")
    parser.add_argument("output", metavar="OUT", nargs="?", help="the file to write")
    parser.add_argument("-o", "--output", dest="output_option", metavar="OUT", help="the same as an option")
    _inputs(parser)
    _rewriting(parser)
    parser.add_argument(
        "--tune",
        nargs="?",
        type=_sizes,
        metavar="B[,B]",
        help="time alternatives as well and take the fastest, at these numbers of candidates (default: that of "
        "--candidates) nowhere slower than IN if there is one; takes up to a minute",
    )
    parser.add_argument(
        "--keep-signature", action="store_true", help="inputs keep all B rows; the first one is taken inside"
    )
    writing = parser.add_argument_group("writing")
    writing.add_argument("--overwrite", action="store_true", help="OUT may be IN, and data files may be replaced")
    writing.add_argument(
        "--external-data",
        choices=("reference", "link", "copy"),
        help="data files of IN, where OUT is in another folder (in the same one they are referenced): copy (the "
        "default) or link them; onnx.load refuses files with several hard links",
    )
    writing.add_argument(
        "--save-as-external-data",
        action="store_true",
        help="write the weights to OUT.data (without this, only where they take more than 1 GiB)",
    )
    checking = parser.add_argument_group("verification")
    checking.add_argument("--no-verify", action="store_true", help="do not compare the result with IN")
    _comparison(checking)
    parser.add_argument(
        "--benchmark",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the time before and after, which takes about 2 s (default: on)",
    )
    _reporting(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="the exported model; nothing is written")
    _inputs(parser)
    _rewriting(parser)
    parser.add_argument(
        "--probe", action="store_true", help="run the model on one user and random items, and show what was equal"
    )
    _reporting(parser)


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("original", metavar="A", help="the model as exported")
    parser.add_argument("optimized", metavar="B", help="the optimized model")
    parser.add_argument(
        "--user",
        action="append",
        metavar="SPEC[,SPEC]",
        help="user-side inputs of A, as for optimize; repeatable (default: as the metadata or inputs of B say)",
    )
    _comparison(parser)
    _reporting(parser)


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="A", help="the model as exported")
    parser.add_argument(
        "result", metavar="B", nargs="?", help="what became of it (default: optimize A, writing nothing)"
    )
    _inputs(parser)
    timing = parser.add_argument_group("timing")
    timing.add_argument(
        "--candidates",
        type=_list(_at_least_1),
        default=(1, 8, 64, 512, 4096),
        metavar="B[,B]",
        help="candidates per request (default: 1,8,64,512,4096); a model with a fixed batch gets that one",
    )
    timing.add_argument(
        "--threads", type=_list(_at_least_1), default=(1,), metavar="N[,N]", help="numbers of threads (default: 1)"
    )
    timing.add_argument(
        "--provider", default="cpu", metavar="NAME", help="execution provider: cuda, openvino, ... (default: cpu)"
    )
    timing.add_argument(
        "--seconds",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="how long at each number of candidates and threads, three turns at least (default: 2)",
    )
    rewriting = parser.add_argument_group("optimizing A, where B is not given")
    rewriting.add_argument(
        "--disable", action="append", default=[], metavar="RULE[,RULE]", help="leave rules out; repeatable"
    )
    rewriting.add_argument(
        "--optimize-for", type=_at_least_1, metavar="B", help="nominal number of candidates (default: 512)"
    )
    checking = parser.add_argument_group("verification")
    checking.add_argument("--no-verify", action="store_true", help="do not compare the result with A")
    checking.add_argument("--samples", metavar="FILE.npz", help="inputs of A, by name, instead of random ones")
    _reporting(parser).add_argument("--plot", metavar="FILE", help="draw the times into a .png or .svg file")


def _calibrate(parser: argparse.ArgumentParser) -> None:
    _reporting(parser)


def _rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as the table in the README")
    _json(parser)


def _inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs", "SPEC: a name, a glob ('user_*'), or columns ('X[:, 0:12,20]').")
    for option, text in (
        ("--user", "user-side inputs; repeatable"),
        ("--item", "item-side inputs; repeatable. Alone: the rest is the user's"),
    ):
        group.add_argument(option, action="append", metavar="SPEC[,SPEC]", help=text)


def _rewriting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rewriting")
    group.add_argument(
        "--disable", action="append", default=[], metavar="RULE[,RULE]", help="leave rules out; repeatable"
    )
    group.add_argument(
        "--candidates",
        type=_at_least_1,
        default=512,
        metavar="B",
        help="candidates per request, for estimates and timing (default: 512)",
    )
    group.add_argument(
        "--calibrated",
        action="store_true",
        help="estimate with the prices of this machine: those that `mari-onnx calibrate` has kept, or measured now",
    )


def _comparison(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--batch",
        type=_list(_at_least_1),
        metavar="N[,N]",
        help="numbers of candidates to compare at (default: 1,2,7,64 as far as that takes no minutes)",
    )
    group.add_argument("--seeds", type=_at_least_1, default=2, metavar="N", help="random inputs for each (default: 2)")
    group.add_argument("--samples", metavar="FILE.npz", help="inputs of the original, by name, instead of random ones")
    group.add_argument(
        "--rtol", type=_tolerance, default=1e-4, metavar="X", help="relative to a row's scale (default: 1e-4)"
    )
    group.add_argument("--atol", type=_tolerance, default=1e-5, metavar="X", help="absolute (default: 1e-5)")


def _reporting(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("reporting")
    _json(group)
    group.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    group.add_argument("-v", "--verbose", action="store_true", help="print details, too")
    return group


def _json(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--json",
        nargs="?",
        type=_document,
        metavar="FILE",
        help="write a JSON document, to standard output if - or absent; a FILE that does not end in .json needs the =",
    )


def _at_least_1(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _tolerance(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a tolerance")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time")
    return number


def _list(one: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
    def read(text: str) -> tuple[int, ...]:
        return tuple(one(part) for part in text.split(","))

    read.__name__ = "list of numbers"
    return read


def _sizes(text: str) -> tuple[int, ...]:
    """Those of ``--tune``; none where it stands alone."""
    return _list(_at_least_1)(text) if text else ()


def _document(text: str) -> str:
    """The file of ``--json``; standard output where it stands alone."""
    return text or "-"


_sizes.__name__ = "list of numbers"
_at_least_1.__name__ = "number"
_tolerance.__name__ = "number"
_seconds.__name__ = "number"
