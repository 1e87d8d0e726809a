"""From arguments to an exit status."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from mari_onnx.cli.parser import make_parser
from mari_onnx.cli.streams import streams
from mari_onnx.cli.watch import watched
from mari_onnx.errors import MariError

USAGE = 2
BUG = 70
"""Not 1, which means that verification failed."""
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the name of the program; ``None``: those of the process.

    Returns:
        The exit status: 0 done, 1 verification failed, 2 usage or unusable model, 70 a bug, 130 interrupted.
    """
    with streams():
        try:
            return _main(argv)
        except KeyboardInterrupt as stop:
            _say("; ".join(["interrupted", *map(str, stop.args)]))
            return INTERRUPTED


def _main(argv: Sequence[str] | None) -> int:
    parser = make_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as left:  # --help, --version, or wrong usage, which argparse has explained
        return left.code if isinstance(left.code, int) else 0
    if args.verb is None:
        parser.print_help(sys.stderr)
        return USAGE
    # Only the process of a command: callers may have threads, and children, of their own.
    with watched() if argv is None else contextlib.nullcontext(), _terminated_like_interrupted():
        return _guarded(args)


def _guarded(args: argparse.Namespace) -> int:
    try:
        verb = importlib.import_module(f"mari_onnx.cli.{args.verb}")
        status = int(verb.run(args))
        sys.stdout.flush()
        return status
    except MariError as error:
        _say(str(error))
        _tell_json(args, str(error), error.exit_status)
        return error.exit_status
    except MemoryError:
        _say("there is not enough memory for this model")
        return USAGE
    except Exception as error:
        import traceback

        traceback.print_exc()
        _say(f"this is a bug of mari-onnx ({type(error).__name__}); please report it with the lines above")
        return BUG


def _say(sentence: str) -> None:
    print(f"mari-onnx: {sentence}", file=sys.stderr)


def _tell_json(args: argparse.Namespace, message: str, status: int) -> None:
    """A program that reads our JSON learns of the failure in the same way."""
    if getattr(args, "json", None) is None:
        return
    from mari_onnx.cli.document import check_target, emit, failure

    with contextlib.suppress(MariError):
        check_target(args)
        emit(failure(args.verb, message, status), args.json)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a closed terminal, unwind the stack as Ctrl-C does: temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What the caller ignores, as nohup does, stays ignored.
    before = {number: signal.signal(number, stop) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
