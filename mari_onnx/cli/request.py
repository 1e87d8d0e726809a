"""From arguments to options."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mari_onnx.errors import ModelError, UsageError
from mari_onnx.options import Options
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.runtime import onnxruntime

FATAL = 4


def options_of(args: argparse.Namespace, **more: Any) -> Options:
    """What ``optimize`` and ``explain`` have in common."""
    return Options(
        user_inputs=args.user,
        item_inputs=args.item,
        disable=disabled_of(args),
        candidates=args.candidates,
        prices=_prices(args),
        **more,
    )


def _prices(args: argparse.Namespace) -> CostModel:
    if not args.calibrated:
        return CostModel()
    from mari_onnx.calibration import machine_prices

    return machine_prices()


def disabled_of(args: argparse.Namespace) -> list[str]:
    """The rules to leave out."""
    return [name.strip() for text in args.disable for name in text.split(",") if name.strip()]


def comparison_of(args: argparse.Namespace) -> dict[str, Any]:
    """How to compare, as :func:`~mari_onnx.verification.verify` and :class:`Options` take it."""
    return {
        "batches": args.batch,
        "seeds": args.seeds,
        "samples": read_samples(args.samples),
        "rtol": args.rtol,
        "atol": args.atol,
    }


def read_samples(path: str | None) -> Mapping[str, np.ndarray] | None:
    """The arrays of an ``.npz`` file, by input name.

    Raises:
        UsageError: It cannot be read.
    """
    if path is None:
        return None
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it holds a single array")
        with loaded as file:
            return {name: _array(file, name) for name in file.files}
    except FileNotFoundError:
        raise UsageError(f"--samples {path}: no such file") from None
    except Exception as error:  # zipfile, numpy and pickle each have their own
        # numpy takes whatever it does not know for pickled objects, and advises to load them.
        pickled = isinstance(error, ValueError) and "pickle" in str(error)
        reason = "it is none" if pickled else str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--samples {path}: not a file of arrays as numpy.savez writes it ({reason})") from error


def _array(file: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        raise ValueError(f"'{name}' cannot be read; text is kept by array.astype(str)") from error


def set_up_logging(args: argparse.Namespace) -> None:
    """With ``-v``, what the package logs goes to standard error; ONNX Runtime's own complaints only then as well."""
    if not args.verbose:
        with contextlib.suppress(ModelError):
            onnxruntime().set_default_logger_severity(FATAL)
    else:
        logging.basicConfig(stream=sys.stderr, format="mari-onnx: %(message)s")
        logging.getLogger("mari_onnx").setLevel(logging.DEBUG)


def show_notes(notes: Iterable[str], quiet: bool) -> None:
    for note in dict.fromkeys(notes):
        if not quiet:
            print(f"mari-onnx: note: {note}", file=sys.stderr)
