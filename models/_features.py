"""Descriptions of model inputs: what they are called, whose they are and which values are valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Feature:
    """One input, or one run of columns of a stacked input. `shape` leaves the batch axis out."""

    name: str
    side: str
    dtype: str
    shape: tuple[int, ...]
    gen: Json

    @property
    def rows(self) -> int:
        """Rows a table needs to hold each id of this feature."""
        return int(self.gen["hi"])

    @property
    def range(self) -> list[int] | None:
        """Half-open range of the values when they are ids; padding counts."""
        if "hi" not in self.gen:
            return None
        return [min(self.gen["lo"], self.gen.get("pad", self.gen["lo"])), self.gen["hi"]]

    def to_json(self, batch: int | str) -> Json:
        """The entry of this input in the metadata file."""
        entry = {"name": self.name, "side": self.side, "dtype": self.dtype, "shape": [batch, *self.shape]}
        return entry | ({"range": self.range} if self.range else {}) | {"gen": self.gen}


@dataclass(frozen=True)
class Stacked:
    """One float matrix that holds the columns of many features."""

    name: str
    features: tuple[Feature, ...]
    side: str = "stacked"

    @property
    def slices(self) -> dict[str, slice]:
        """Where each feature's columns are."""
        found, start = {}, 0
        for feature in self.features:
            found[feature.name] = slice(start, start + feature.shape[0])
            start += feature.shape[0]
        return found

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(feature.shape[0] for feature in self.features)

    @property
    def user_columns(self) -> list[int]:
        """Columns that belong to the user."""
        cuts = self.slices
        return [c for f in self.features if f.side == "user" for c in range(cuts[f.name].start, cuts[f.name].stop)]

    def to_json(self, batch: int | str) -> Json:
        """The entry of this input in the metadata file."""
        cuts = self.slices
        columns = [
            {
                "name": f.name,
                "start": cuts[f.name].start,
                "end": cuts[f.name].stop,
                "side": f.side,
                "gen": f.gen,
                "range": f.range,
            }
            for f in self.features
        ]
        shape = [batch, self.width]
        return {"name": self.name, "side": self.side, "dtype": "float32", "shape": shape, "columns": columns}


Inputs = tuple[Feature | Stacked, ...]


def side_of(name: str) -> str:
    """Context (time, place, device) is the same for all candidates, so it counts as the user's."""
    side = {"user": "user", "ctx": "user", "item": "item"}.get(name.partition("_")[0])
    if side is None:
        raise ValueError(f"{name}: the name must begin with user_, ctx_ or item_")
    return side


def ids(name: str, rows: int, *shape: int) -> Feature:
    """Ids below `rows`, one for each example unless a `shape` is given."""
    return Feature(name, side_of(name), "int64", shape, {"kind": "ids", "lo": 0, "hi": rows})


def dense(name: str, width: int) -> Feature:
    """`width` real numbers."""
    return Feature(name, side_of(name), "float32", (width,), {"kind": "normal"})


def history(name: str, rows: int, steps: int) -> Feature:
    """Up to `steps` ids, padded with 0 on the right. All histories of a model have the same length."""
    gen = {"kind": "history", "lo": 1, "hi": rows, "pad": 0, **_padding(steps)}
    return Feature(name, side_of(name), "int64", (steps,), gen)


def history_length(name: str, steps: int) -> Feature:
    """How many steps of the histories are there."""
    return Feature(name, side_of(name), "int64", (), {"kind": "length", **_padding(steps)})


def history_padding(name: str, steps: int) -> Feature:
    """True where a step of the histories is padding."""
    return Feature(name, side_of(name), "bool", (steps,), {"kind": "mask", "invert": True, **_padding(steps)})


def _padding(steps: int) -> Json:
    return {"maxlen": steps, "group": "h", "pad_side": "right", "min_len": 1}


def metadata(
    name: str,
    inputs: Inputs,
    outputs: tuple[str, ...],
    *,
    source: str,
    exporter: str,
    opset: int,
    batch: int | str = "B",
) -> Json:
    """What is written beside each model."""
    stacked = [i for i in inputs if isinstance(i, Stacked)]
    return {
        "name": name,
        "source": source,
        "exporter": exporter,
        "opset": {"ai.onnx": opset},
        "user_inputs": [i.name for i in inputs if i.side == "user"],
        "item_inputs": [i.name for i in inputs if i.side == "item"],
        "user_columns": stacked[0].user_columns if stacked else None,
        "inputs": [i.to_json(batch) for i in inputs],
        "outputs": list(outputs),
    }
