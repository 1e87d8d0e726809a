"""``python -m mari_onnx.demo``: two models of the checkout, optimized, verified and measured. Nothing is kept."""

from __future__ import annotations

import contextlib
import importlib
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mari_onnx.cli import main as command
from mari_onnx.errors import UsageError

CHECKOUT = Path(__file__).resolve().parents[1]
RANKER = "din_dyn"
CANDIDATES = 512
LAYER_CANDIDATES = 2000
"""As many as in the published measurement of that layer."""


def main() -> int:
    """Runs the demo.

    Returns:
        The exit status of the first command that fails, or 0.
    """
    try:
        ranker = _exported(RANKER)
    except UsageError as error:
        print(f"mari-onnx: {error}", file=sys.stderr)
        return error.exit_status
    with tempfile.TemporaryDirectory(prefix="mari-onnx-demo-") as folder:
        print(f"A small ranker with target attention, exported from PyTorch ({RANKER}):")
        status = _optimize(ranker, Path(folder), CANDIDATES)
        if status == 0:
            print(f"\nThe layer that published results measure, at full width and {LAYER_CANDIDATES} candidates:")
            status = _optimize(_published_layer(Path(folder)), Path(folder), LAYER_CANDIDATES)
    return status


def _optimize(model: Path, folder: Path, candidates: int) -> int:
    """Runs the command as a user would type it, the user's inputs named by the file beside the model."""
    users = json.loads(model.with_suffix(".json").read_text())["user_inputs"]
    result = folder / f"{model.stem}.optimized.onnx"
    shown = model.relative_to(CHECKOUT) if model.is_relative_to(CHECKOUT) else Path(model.name)
    pattern = _glob(users)
    args = [*(arg for user in pattern for arg in ("--user", user)), "--candidates", str(candidates)]
    print(f"$ mari-onnx optimize {shown} {result.name} {shlex.join(args)}\n", flush=True)
    with contextlib.chdir(folder):
        return command(["optimize", str(model), result.name, *args])


def _glob(users: list[str]) -> list[str]:
    """Names with a number behind them, as globs, so that the command fits on a line."""
    return list(dict.fromkeys(user.rstrip("0123456789") + "*" if user[-1:].isdigit() else user for user in users))


def _exported(name: str) -> Path:
    path = CHECKOUT / "models" / "onnx" / f"{name}.onnx"
    if not path.is_file():
        raise UsageError(f"the demo needs the models of a checkout, and there is no {path}")
    return path


def _published_layer(folder: Path) -> Path:
    with _first_on_path(CHECKOUT):
        layer = importlib.import_module("models.published_layer")
    return Path(layer.write(layer.Layer(), folder).path)


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


if __name__ == "__main__":
    sys.exit(main())
