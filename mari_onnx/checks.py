"""What callers of the Python interface hand in: anything else is told in one sentence, before any work."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from math import inf
from numbers import Integral, Real

import numpy as np
import onnx

from mari_onnx.errors import UsageError


def check_model(model: object) -> None:
    """A path or a model.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(model, str) and not model:
        raise UsageError("the path of a model is empty")
    if isinstance(model, bytes):
        raise UsageError("a model is a path or an onnx.ModelProto, not bytes: read these with onnx.load_from_string")
    if not isinstance(model, (str, os.PathLike, onnx.ModelProto)):
        raise UsageError(f"a model is a path or an onnx.ModelProto, not {_shown(model)}")
    if not isinstance(model, onnx.ModelProto):
        _check_name(model)


def check_path(path: object) -> None:
    """A path to write to.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"a file to write is a path, not {_shown(path)}")
    if isinstance(path, str) and not path:
        raise UsageError("the path of the file to write is empty")
    _check_name(path)


def _check_name(path: str | os.PathLike[str]) -> None:
    """A path that a file can have: the system raises a class of its own for others, whatever is done with them."""
    name = os.fspath(path)
    if not isinstance(name, str):
        raise UsageError(f"a path is text, not {_shown(name)}: os.fsdecode makes it that")
    try:
        possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise UsageError(f"no file can have the path {_shown(name)}")


def check_flag(name: str, value: object) -> None:
    """True or false: text such as 'no' would count as true.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise UsageError(f"{name} is True or False, not {_shown(value)}")


def check_number(name: str, value: object) -> None:
    """A whole number from 1 on.

    Raises:
        UsageError: It is none.
    """
    if not _is_number(value):
        raise UsageError(f"{name} is a whole number from 1 on, not {_shown(value)}")


def check_numbers(name: str, values: object) -> None:
    """Some whole numbers from 1 on.

    Raises:
        UsageError: They are none.
    """
    if isinstance(values, str) or not isinstance(values, Collection) or not all(_is_number(v) for v in values):
        raise UsageError(f"{name} is a list of whole numbers from 1 on, such as [1, 64], not {_shown(values)}")


def check_tolerance(name: str, value: object) -> None:
    """A number from 0 on.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < inf:
        raise UsageError(f"{name} is a number from 0 on, not {_shown(value)}")


def check_names(name: str, values: object) -> None:
    """Some names.

    Raises:
        UsageError: They are none, or a single one.
    """
    if isinstance(values, str) or not isinstance(values, Collection) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"{name} is a list of names, such as ['views'], not {_shown(values)}")


def check_samples(samples: object) -> None:
    """Arrays by name, or nothing.

    Raises:
        UsageError: They are something else.
    """
    if samples is not None and not (isinstance(samples, Mapping) and all(isinstance(name, str) for name in samples)):
        raise UsageError(
            f"samples are arrays by the names of inputs, such as {{'user_id': ids}}, not {_shown(samples)}"
        )


def did_you_mean(name: object, known: Collection[str]) -> str:
    """The nearest of some names as a question, with a space in front; empty where none is near."""
    near = get_close_matches(str(name), known, 1, 0.5)
    return f" did you mean '{near[0]}'?" if near else ""


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


def _shown(value: object) -> str:
    return reprlib.repr(value)
