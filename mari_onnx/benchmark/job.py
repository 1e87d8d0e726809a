"""What a measuring process is told, and how: a JSON file, and the inputs in a file of arrays beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mari_onnx.verification.source import Array

ARRAYS = "inputs.npz"


@dataclass(frozen=True)
class Entrant:
    """One model that takes part.

    Attributes:
        side: What it is called.
        model: Its file.
        folder: Where its external weights lie, if not beside it.
        feeds: By input, the key of its array.
    """

    side: str
    model: str
    folder: str | None
    feeds: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
        entrants: The models, in the order in which the first turn runs them.
        types: ONNX element types of arrays that numpy has no type for; these are stored as plain bits.
        threads: Threads of ONNX Runtime.
        provider: Full name of the execution provider.
        seconds: Stop after so long, once each has run a few times.
    """

    entrants: Sequence[Entrant]
    types: Mapping[str, int]
    threads: int
    provider: str
    seconds: float

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        content: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**content, "entrants": [Entrant(**e) for e in content["entrants"]]})


class Store:
    """Arrays to be handed over, each once, whoever uses it."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self._arrays: dict[str, Array] = {}
        self._kept: list[Array] = []
        self.types: dict[str, int] = {}

    def put(self, array: Array) -> str:
        """The key of an array."""
        if id(array) not in self._keys:
            key = f"a{len(self._keys)}"
            self._keys[id(array)] = key
            self._kept.append(array)  # an array that is gone could leave its id to another
            if array.dtype.kind == "O":
                self._arrays[key] = array.astype(str)
            elif array.dtype.kind == "V":
                self.types[key] = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
                self._arrays[key] = array.view(f"u{array.itemsize}")
            else:
                self._arrays[key] = np.asarray(array, order="C")
        return self._keys[id(array)]

    def write(self, folder: Path) -> None:
        arrays: dict[str, Any] = dict(self._arrays)
        np.savez(folder / ARRAYS, **arrays)


def read_arrays(folder: Path) -> dict[str, Array]:
    """The arrays by key; text as objects, which is what ONNX Runtime takes."""
    with np.load(folder / ARRAYS, allow_pickle=False) as file:
        found = {key: file[key] for key in file.files}
    return {key: array.astype(object) if array.dtype.kind == "U" else array for key, array in found.items()}
