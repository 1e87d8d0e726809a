"""A parser whose options never take a word that belongs to somebody else."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Container, Iterable, Sequence
from difflib import get_close_matches

OPTIONAL_VALUES = {"--json": re.compile(r"-|.*\.json"), "--tune": re.compile(r"\d[\d, ]*")}
"""Options that go without a value, too: only words that look like this are taken for one."""

MODEL = ".onnx"


class Parser(argparse.ArgumentParser):
    """Reads ``--json in.onnx`` as an option and a model, models wherever they stand, and leaves no word unread.

    argparse gives an option with an optional value whatever word comes next, the model's name among others, and
    knows of no second model behind an option.
    """

    def parse_known_args(  # type: ignore[override]  # typeshed has overloads, for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As in the base class, which calls this for each verb; what is unknown is an error here already."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is not None and words and words[0].endswith(MODEL):
            self.error(f"say what to do with it first: {self.prog} optimize {' '.join(words)}")
        found, unknown = super().parse_known_args(_settled(words, self._option_string_actions), namespace)
        for action in self._actions:
            absent = action.nargs == "?" and not action.option_strings and getattr(found, action.dest) is None
            # Anything else may have been meant for an option, as `--user a b` is.
            if absent and len(unknown) == 1 and unknown[0].endswith(MODEL) and not unknown[0].startswith("-"):
                setattr(found, action.dest, unknown.pop())
        if unknown:
            hint = _nearest(unknown, self._option_string_actions) or spare_word_hint(found)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown


class Help(argparse.RawDescriptionHelpFormatter):
    """Shows optional values as they can always be typed: ``--json[=FILE]``."""

    def format_help(self) -> str:
        return re.sub(rf"({'|'.join(OPTIONAL_VALUES)}) \[", r"\1[=", super().format_help())


def _settled(words: Sequence[str], known: Container[str]) -> list[str]:
    """The words, with an equals sign between such an option and its value, which is empty where there is none."""
    end = words.index("--") if "--" in words else len(words)
    settled: list[str] = []
    option = ""
    for word in words[:end]:
        if option and OPTIONAL_VALUES[option].fullmatch(word):
            settled[-1] += word
            option = ""
            continue
        option = word if word in OPTIONAL_VALUES and word in known else ""
        settled.append(f"{word}=" if option else word)
    return [*settled, *words[end:]]


def _nearest(unknown: Iterable[str], known: Iterable[str]) -> str:
    options = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    near = get_close_matches(options[0], list(known), 1, 0.7) if options else []
    return f"; did you mean {near[0]}?" if near else ""


def spare_word_hint(args: argparse.Namespace) -> str:
    """What to type instead, where a word is left over that may have been meant for an option."""
    hints = []
    if getattr(args, "user", None) or getattr(args, "item", None):
        hints.append("; several inputs go with commas: --user a,b")
    if getattr(args, "json", None) == "-":
        hints.append("; a document goes to a file with --json=FILE")
    if getattr(args, "tune", None) == ():
        hints.append("; numbers of candidates go as in --tune=1,64,512")
    return "".join(hints)
