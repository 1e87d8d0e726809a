"""The JSON documents; docs/json.md describes them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mari_onnx import __version__
from mari_onnx.errors import UsageError
from mari_onnx.files import write_over

SCHEMA = 1
"""Grows when a key changes its meaning or goes; new keys may come at any time."""


def document(verb: str, status: str, **content: Any) -> dict[str, Any]:
    """A document with the keys that all have."""
    return {"schema": SCHEMA, "version": __version__, "verb": verb, "status": status, **content}


def failure(verb: str, message: str, exit_status: int) -> dict[str, Any]:
    """What takes the place of a result."""
    status = "verification failed" if exit_status == 1 else "error"
    return document(verb, status, message=message)


FILES = ("input", "output", "output_option", "original", "optimized", "model", "result", "samples")
"""Arguments of the verbs that name what they read or write beside documents and plots."""


def check_target(args: argparse.Namespace, option: str = "json") -> None:
    """Refuses, before any work, a file that cannot be written, or is another one's.

    Args:
        args: The arguments; the file is the one of the option, ``-`` is standard output.
        option: ``json`` or ``plot``.

    Raises:
        UsageError: Its folder is missing, it is a folder itself, or it holds something else.
    """
    target = getattr(args, option, None)
    if target is None or target == "-":
        return
    path = Path(target)
    files = [getattr(args, name, None) for name in FILES]
    if path.absolute() in {Path(f).absolute() for f in files if f} or _is_something_else(path, option):
        raise UsageError(
            f"--{option} {target}: that is another file, which would be overwritten; name a new one, or remove it first"
        )
    if path.is_dir():
        raise UsageError(f"--{option} {target}: it is a directory, name a file in it")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"--{option} {target}: its folder does not exist or is not writable")


def _is_something_else(path: Path, option: str) -> bool:
    """Whether a file is there that is no document of ours."""
    if option != "json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) not in (b"", b"{")


def emit(content: Mapping[str, Any], target: str) -> None:
    """Prints a document or writes it to a file.

    Raises:
        UsageError: The file cannot be written.
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        write_over(Path(target), text.encode())
    except OSError as error:
        raise UsageError(f"--json {target}: {error.strerror or error}") from error
