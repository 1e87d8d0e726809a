"""The committed exports and valid random feeds for them; no deep-learning framework is imported here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent / "onnx"

Spec = Mapping[str, Any]
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Exported:
    """One exported model and what its inputs mean.

    `inputs` keeps the dictionaries of the metadata file: name, side (user, item or stacked), dtype, shape and `gen`,
    the description of valid values. `user_columns` is set for a stacked input only.
    """

    name: str
    path: Path
    user_inputs: tuple[str, ...]
    item_inputs: tuple[str, ...]
    user_columns: tuple[int, ...] | None
    inputs: tuple[Spec, ...]

    @property
    def fixed_batch(self) -> int | None:
        """The batch size the graph was exported with, or None when it is symbolic."""
        first = self.inputs[0]["shape"][0]
        return first if isinstance(first, int) else None


def read(metadata: Path) -> Exported:
    """Read one metadata file; the model lies beside it."""
    return parse(json.loads(metadata.read_text()), metadata.with_suffix(".onnx"))


def parse(meta: Spec, path: Path) -> Exported:
    """Take what the catalog needs out of a metadata dictionary."""
    columns = meta["user_columns"]
    return Exported(
        name=meta["name"],
        path=path,
        user_inputs=tuple(meta["user_inputs"]),
        item_inputs=tuple(meta["item_inputs"]),
        user_columns=None if columns is None else tuple(columns),
        inputs=tuple(meta["inputs"]),
    )


def exported(folder: Path = FOLDER) -> list[Exported]:
    """All exports of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def draw(meta: Exported, batch: int, seed: int) -> tuple[Feeds, Feeds]:
    """Draw one request.

    Args:
        meta: the model to feed.
        batch: number of candidate items.
        seed: the same seed gives the same request.

    Returns:
        `single`, with one row for each user input, and `full`, with that row repeated `batch` times. Item inputs are
        the same `batch` rows in both. A stacked input cannot be narrowed, so it is the same in both as well.
    """
    source = _Source(np.random.default_rng(seed))
    single: Feeds = {}
    full: Feeds = {}
    for spec in meta.inputs:
        if spec["side"] == "stacked":
            values = _stack(source, spec["columns"], batch)
        else:
            values = source.draw(spec["gen"], _rows(spec, batch), spec["shape"][1:])
        values = np.ascontiguousarray(values, dtype=spec["dtype"])
        single[spec["name"]] = values
        full[spec["name"]] = np.repeat(values, batch, axis=0) if spec["side"] == "user" else values.copy()
    return single, full


def _rows(spec: Spec, batch: int) -> int:
    return 1 if spec["side"] == "user" else batch


def _stack(source: _Source, columns: list[Spec], batch: int) -> np.ndarray:
    parts = [source.draw(c["gen"], _rows(c, batch), (c["end"] - c["start"],)) for c in columns]
    return np.concatenate([np.broadcast_to(part, (batch, part.shape[1])) for part in parts], axis=1)


class _Source:
    """Draws features one after the other; those of one `group` share their lengths."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._lengths: dict[tuple[str, int], np.ndarray] = {}
        self._kinds: dict[str, Callable[[Spec, tuple[int, ...]], np.ndarray]] = {
            "ids": lambda gen, shape: rng.integers(gen["lo"], gen["hi"], shape),
            "normal": lambda gen, shape: rng.normal(gen.get("mean", 0.0), gen.get("std", 1.0), shape),
            "uniform": lambda gen, shape: rng.uniform(gen.get("lo", 0.0), gen.get("hi", 1.0), shape),
            "const": lambda gen, shape: np.full(shape, gen["value"]),
            "length": lambda gen, shape: self._length(gen, shape[0]).reshape(shape),
            "mask": lambda gen, shape: (self._present(gen, shape[0]) ^ bool(gen.get("invert"))).reshape(shape),
            "history": self._history,
        }

    def draw(self, gen: Spec, rows: int, tail: tuple[int, ...] | list[int]) -> np.ndarray:
        """One feature of `rows` rows with trailing shape `tail`."""
        return self._kinds[gen["kind"]](gen, (rows, *tail))

    def _length(self, gen: Spec, rows: int) -> np.ndarray:
        key = (gen.get("group", "h"), rows)
        if key not in self._lengths:
            self._lengths[key] = self._rng.integers(gen.get("min_len", 1), gen["maxlen"] + 1, rows)
        return self._lengths[key]

    def _present(self, gen: Spec, rows: int) -> np.ndarray:
        steps, length = np.arange(gen["maxlen"]), self._length(gen, rows)[:, None]
        if gen.get("pad_side", "right") == "right":
            return steps < length
        return steps >= int(gen["maxlen"]) - length

    def _history(self, gen: Spec, shape: tuple[int, ...]) -> np.ndarray:
        present = self._present(gen, shape[0])
        ids = self._rng.integers(gen["lo"], gen["hi"], present.shape)
        return np.where(present, ids, gen.get("pad", 0)).reshape(shape)
