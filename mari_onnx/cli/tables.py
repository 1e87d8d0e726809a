"""Tables and numbers as people read them. rich knows the width of the terminal, and NO_COLOR."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 400
GAP = "  "
UNITS = ("", "k", "M", "G", "T", "P")


def console() -> Console:
    """Where results are printed; made anew each time, as tests exchange standard output."""
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    # A file or a pipe has no width: there a line is for a program, and is not to be broken.
    return Console(file=sys.stdout, width=None if narrow else WIDE, highlight=False, emoji=False, markup=False)


def line(out: Console, text: str, style: str = "") -> None:
    """A line that is never broken, so that it can be found and copied."""
    out.print(text, style=style, soft_wrap=True)


def table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Prints a table without frame; where words would have to be broken, each row as a list.

    Args:
        out: Where to.
        columns: Headings.
        rows: Cells; the first one says what the row is about.
        numbers: Columns to set flush right.
    """
    cells = [tuple(row) for row in rows]
    widths = _widths(columns, cells, numbers, out.width)
    if widths is None:
        _listed(out, columns, cells)
        return
    result = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
    for index, name in enumerate(columns):
        result.add_column(Text(name), justify="right" if index in numbers else "left", width=widths[index])
    for row in cells:
        result.add_row(*map(Text, row))
    out.print(result)


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int], most: int
) -> list[int] | None:
    """How wide each column is, none of them narrower than a word or a number; ``None`` where there is no room."""
    room = most - len(GAP) * (len(columns) - 1)
    whole, narrow = [], []
    for index, name in enumerate(columns):
        cells = [row[index] for row in rows]
        words = name.split() + (cells if index in numbers else [word for cell in cells for word in cell.split()])
        whole.append(max(map(cell_len, [name, *cells])))
        narrow.append(max(map(cell_len, words), default=0))
    spare, wanted = room - sum(narrow), sum(whole) - sum(narrow)
    if spare < 0:
        return None
    if spare >= wanted:
        return whole
    return [few + (many - few) * spare // wanted for few, many in zip(narrow, whole, strict=True)]


def _listed(out: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        first, *others = (f"{name}: {cell}" if name else cell for name, cell in zip(columns, row, strict=True))
        line(out, first, style="bold")
        for text, cell in zip(others, row[1:], strict=True):
            if cell:
                line(out, f"{GAP}{text}")


def count(number: float) -> str:
    """Three digits and a unit: ``12.3M``."""
    for unit in UNITS:
        if abs(number) < 999.5 or unit == UNITS[-1]:
            return f"{number:.3g}{unit}" if unit else f"{number:.0f}"
        number /= 1000
    raise AssertionError  # the last unit takes everything


def factor(before: float, after: float) -> str:
    """How many times less: ``5.3x``."""
    if before == after:
        return ""
    if not after:
        return "all gone"
    if not before:
        return "new"
    return f"{before / after:.3g}x less" if after < before else f"{after / before:.3g}x more"


def milliseconds(number: float) -> str:
    return f"{number:.3g} ms"


def size(number: float) -> str:
    """Bytes: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a row, the last ones counted where there are many."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def several(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
