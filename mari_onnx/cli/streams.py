"""Standard output and standard error whose readers may leave before the end, as ``head`` does."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from mari_onnx.errors import MariError, UsageError


class Stream:
    """Passes text on as long as somebody takes it; the work goes on in any case, and has its own exit status.

    Names of inputs that the stream's encoding lacks are written with escapes.

    Args:
        stream: Where to.
        nowhere: What takes its place when nobody takes any more.
        lost: What to say where text is lost although somebody waits for it, as on a full disk; empty to say nothing.
    """

    def __init__(self, stream: TextIO, nowhere: TextIO, lost: str = "") -> None:
        self._stream = stream
        self._nowhere = nowhere
        self._lost = lost

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        with self._unread():
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._unread():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _unread(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still in the buffer must go somewhere when Python ends.
            with contextlib.suppress(OSError):
                os.dup2(self._nowhere.fileno(), self._stream.fileno())
            if self._lost and not isinstance(error, BrokenPipeError):
                raise UsageError(f"{self._lost}: {error.strerror or error}") from error


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Everything within prints to streams that may be left; those that the process was started without are nowhere."""
    with open(os.devnull, "w") as nowhere:
        out = Stream(sys.stdout or nowhere, nowhere, "standard output cannot be written")
        told = Stream(sys.stderr or nowhere, nowhere)
        with contextlib.redirect_stdout(cast(TextIO, out)), contextlib.redirect_stderr(cast(TextIO, told)):
            yield
            with contextlib.suppress(MariError):
                out.flush()
            told.flush()
