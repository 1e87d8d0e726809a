"""`python -m models.suite [FOLDER]`: the whole suite, or the sections named by `--only`.

FOLDER holds exports with their descriptions, as `python -m models.export --size industrial --out FOLDER` writes them.
onnxsim, onnxslim and PyTorch are timed as well where they are installed. Leave the machine alone meanwhile: at the
default settings the suite takes more than an hour.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mari_onnx.benchmark import providers
from mari_onnx.benchmark.run import CANDIDATES, SECONDS, Settings, make_settings
from mari_onnx.errors import MariError
from models import catalog
from models.suite.by_hand import by_hand
from models.suite.figures import read, write
from models.suite.industrial import industrial
from models.suite.studies import STUDIES

OF_EXPORTS = ("industrial", "by-hand")
SECTIONS = (*OF_EXPORTS, *STUDIES)
DOCS = Path(__file__).resolve().parents[2] / "docs"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m models.suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help=f"exports; for {' and '.join(OF_EXPORTS)}"
    )
    result.add_argument("--only", metavar="SECTION[,SECTION]", help=f"of {', '.join(SECTIONS)}; the others stay")
    result.add_argument(
        "--models", default="*", metavar="GLOB", help="exports to take, such as 'd*_dyn'; the others stay"
    )
    result.add_argument("--candidates", default=",".join(map(str, CANDIDATES)), help="for `industrial`")
    result.add_argument("--seconds", type=float, default=SECONDS, help="for each model and number of candidates")
    result.add_argument("--threads", type=int, default=1)
    result.add_argument("--provider", default="cpu")
    result.add_argument("--out", type=Path, default=DOCS, metavar="DIR", help="default: docs")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = parser()
    args = command.parse_args(argv)
    chosen = args.only.split(",") if args.only else list(SECTIONS)
    if unknown := sorted(set(chosen) - set(SECTIONS)):
        command.error(f"no such section: {', '.join(unknown)}")
    if find_spec("matplotlib") is None:
        command.error("the plots need matplotlib: pip install 'mari-onnx[plot]'")
    models = []
    if wanting := [section for section in OF_EXPORTS if section in chosen]:
        if args.folder is None:
            command.error(f"the section `{wanting[0]}` needs a FOLDER of exports")
        models = [m for m in catalog.exported(args.folder) if fnmatch.fnmatch(m.name, args.models)]
        if not models:
            command.error(f"there are no exports in {args.folder}; python -m models.export writes them")
    try:
        sizes = [int(size) for size in args.candidates.split(",")]
    except ValueError:
        command.error(f"--candidates {args.candidates}: numbers with commas between them are needed")
    try:
        settings = make_settings(sizes, [args.threads], args.provider, args.seconds, _tell)
        name = _name(settings)
        _run(settings, chosen, models, args.out, name)
    except MariError as error:
        command.error(str(error))
    print(args.out / f"{name}.md")
    return 0


def _run(settings: Settings, chosen: Sequence[str], models: Sequence[catalog.Exported], out: Path, name: str) -> None:
    from models.suite import document

    kept = out / name / "figures.json"
    sections = read(kept)
    for section in chosen:
        _tell(f"section {section}")
        if section == "industrial":
            before = sections.get(section)
            names = [model.name for model in models]
            with tempfile.TemporaryDirectory(prefix="mari-onnx-suite-") as scratch:
                for found in industrial(settings, models, Path(scratch)):
                    sections[section] = found.with_others_of(before, names) if before else found
                    write(kept, sections)
            continue
        sections[section] = by_hand(settings, models) if section == "by-hand" else STUDIES[section](settings)
        write(kept, sections)
    document.write(sections, out, name)


def _name(settings: Settings) -> str:
    """`benchmarks`, and on what, where that is not one thread of the processor."""
    provider = providers.short_name(settings.provider)
    threads = settings.threads[0]
    return "benchmarks" + (f"-{provider}" if provider != "cpu" else "") + (f"-{threads}" if threads > 1 else "")


def _tell(text: str) -> None:
    if not text.startswith("bench"):
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
