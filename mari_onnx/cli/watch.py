"""A small process beside the command: when ONNX Runtime takes the command down, it says at what and tidies up.

A crash inside a library leaves no exception to catch, no message and no time to remove files. The watcher is forked
before anything large is imported, so it costs about a millisecond; signals, exit status and output remain the
command's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

END = b"end"
FILES = b"files "
"""In front of a folder and a pattern of names, as ``folder/pattern``."""


class _Watcher:
    """The way to the watcher, where there is one."""

    pipe: int | None = None


def tell(doing: str) -> None:
    """Says what the command does now."""
    _send(doing.encode("utf-8", "backslashreplace"))


def tell_files(folder: Path, pattern: str) -> None:
    """Says which files are not to stay behind."""
    _send(FILES + os.fsencode(folder / pattern))


def _send(line: bytes) -> None:
    if _Watcher.pipe is not None:
        with contextlib.suppress(OSError):
            os.write(_Watcher.pipe, line.replace(b"\n", b" ") + b"\n")


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Whatever is done within is told by :func:`tell`, and by the watcher if this process does not come back from it.

    Nothing is watched where processes cannot be forked, or there are threads, which would not be forked along.
    """
    child = _forked()
    try:
        yield
    finally:
        if child is not None and _Watcher.pipe is not None:
            _send(END)
            os.close(_Watcher.pipe)
            _Watcher.pipe = None
            with contextlib.suppress(ChildProcessError):  # where the caller has it that children are not waited for
                os.waitpid(child, 0)


def _forked() -> int | None:
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return None
    try:
        read, write = os.pipe()
        child = os.fork()
    except OSError:  # no more processes: nothing that the command needs
        return None
    if child == 0:
        os.close(write)
        _watch(read)
    os.close(read)
    _Watcher.pipe = write
    return child


def _watch(pipe: int) -> NoReturn:
    """Reads until the command has ended, one way or another."""
    status = 1
    try:
        # What is sent to all of a terminal's processes is for the command.
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP"):
            signal.signal(signal.Signals[name], signal.SIG_IGN)
        # Whoever reads the command's output need not wait for two.
        for stream in (0, 1):
            with contextlib.suppress(OSError):
                os.close(stream)
        with os.fdopen(pipe, "rb") as lines:
            _report(lines)
        status = 0
    finally:
        os._exit(status)


def _report(lines: Iterable[bytes]) -> None:
    last, doing, files = b"", b"starting", []
    for line in lines:
        last = line.rstrip(b"\n")
        if last.startswith(FILES):
            files.append(Path(os.fsdecode(last.removeprefix(FILES))))
        else:
            doing = last
    if last == END:
        return
    for path in (path for place in files for path in place.parent.glob(place.name)):
        path.unlink(missing_ok=True)
    if sys.stderr.isatty():  # the live line of the stage is still there, and hides the cursor
        sys.stderr.write("\r\x1b[K\x1b[?25h")
    sys.stderr.write(f"mari-onnx: the process was ended while {doing.decode()}; no file was left half-written\n")
    sys.stderr.flush()
