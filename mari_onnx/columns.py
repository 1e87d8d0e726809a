"""How users name inputs: ``name``, ``glob*``, or columns of a stacked input, ``X[:, 0:12,20]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mari_onnx.errors import UsageError

_COLUMNS = re.compile(r"^(?P<name>.+?)\[\s*:\s*,(?P<columns>[^\]]*)\]$")
_BETWEEN = re.compile(r",(?![^\[\]]*\])")
"""Commas within brackets separate columns."""
_RANGE = re.compile(r"^(?P<start>-?\d+)?\s*:\s*(?P<stop>-?\d+)?$")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One ``--user`` or ``--item`` argument.

    Attributes:
        pattern: Name of an input, or a glob over names.
        columns: What stands behind the colon and comma for columns of a stacked input; ``None`` for whole inputs.
        text: As it was typed.
    """

    pattern: str
    columns: str | None
    text: str


def parse_specs(texts: Iterable[str], names: Sequence[str]) -> Iterator[InputSpec]:
    """Reads what was typed: one specification, or several with commas between them.

    Args:
        texts: One text for each time that the option was given.
        names: The inputs there are. One of these names is that input, whatever is in it.

    Raises:
        UsageError: As :func:`parse_spec` raises.
    """
    given = [texts] if isinstance(texts, str) else [*texts] if isinstance(texts, Iterable) else [texts]
    strange = [text for text in given if not isinstance(text, str)]
    if strange:
        raise UsageError(f"inputs are named by strings, as in ['user_*', 'X[:, 0:12]'], not by {strange[0]!r}")
    for text in given:
        for part in _parts(text, names):
            yield InputSpec(part, None, part) if part in names else parse_spec(part)


def _parts(text: str, names: Sequence[str]) -> Iterator[str]:
    """Cuts at commas that are no part of a name."""
    rest = _BETWEEN.split(text)
    while rest:
        # Most parts first, so that the name `a,b` is not taken for the names `a` and `b`.
        ends = (end for end in range(len(rest), 1, -1) if ",".join(rest[:end]) in names)
        end = next(ends, 1)
        yield ",".join(rest[:end])
        del rest[:end]


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The input of that name, or those that match it as a glob; spaces around their names need not be typed."""
    if pattern in names:
        return [pattern]
    same = [name for name in names if name.strip() == pattern]
    return same or [name for name in names if fnmatchcase(name.strip(), pattern)]


def parse_spec(text: str) -> InputSpec:
    """Reads one specification.

    Raises:
        UsageError: It is empty, or its brackets are not of the form ``X[:, 0:12,20]``.
    """
    stripped = text.strip()
    found = _COLUMNS.match(stripped)
    if found is not None:
        return InputSpec(found["name"].strip(), found["columns"], text)
    unclosed = stripped.count("[") != stripped.count("]")
    if not stripped or ("[" in stripped and ":" in stripped and (stripped.endswith("]") or unclosed)):
        raise UsageError(f"'{text}' does not name an input; write a name, a glob, or columns as in 'X[:, 0:12,20]'")
    return InputSpec(stripped, None, text)


def column_numbers(spec: InputSpec, width: int) -> tuple[int, ...]:
    """The columns that a specification names, in order; slices are half-open as in numpy.

    Args:
        spec: A specification with columns.
        width: Number of columns of the input.

    Raises:
        UsageError: A part is not a number or slice, or lies outside the input.
    """
    numbers: set[int] = set()
    for part in (spec.columns or "").split(","):
        text = part.strip()
        span = _RANGE.match(text)
        if span is not None:
            start = int(span["start"]) if span["start"] else None
            stop = int(span["stop"]) if span["stop"] else None
            if max(start or 0, stop or 0) > width:
                raise UsageError(
                    f"'{spec.text}': columns {text} lie outside '{spec.pattern}', which has {width} columns"
                )
            numbers.update(range(*slice(start, stop).indices(width)))
        elif re.fullmatch(r"-?\d+", text):
            number = int(text)
            if not -width <= number < width:
                raise UsageError(f"'{spec.text}': '{spec.pattern}' has no column {number}, only {width} columns")
            numbers.add(number % width)
        else:
            raise UsageError(f"'{spec.text}': '{text}' is neither a column number nor a slice such as 0:12")
    if not numbers:
        raise UsageError(f"'{spec.text}' names no column")
    return tuple(sorted(numbers))


def columns_text(numbers: tuple[int, ...]) -> str:
    """Columns as half-open slices, the shortest way to type them."""
    parts: list[str] = []
    start = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            first, last = numbers[start], numbers[index - 1]
            parts.append(str(first) if first == last else f"{first}:{last + 1}")
            start = index
    return ",".join(parts)
