"""Turn a definition into one self-contained ONNX file and its metadata."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import onnx
from google.protobuf.message import Message

from models import KERAS, _features, catalog

SEED = 20
SAMPLE = 5  # any batch but 0 and 1, which exporters treat as constants
OPSETS = {"ts": 17, "dynamo": 20, "tf2onnx": 17}
SUFFIXES = {"ts": "ts17", "dynamo": "dyn", "tf2onnx": "tf17"}


class Definition(Protocol):
    """What an architecture's file holds.

    `BATCH` is there when the batch is not symbolic, and `TEACHER`, the name of another architecture with the same
    inputs and output, when the weights are learned from that one.
    """

    Config: Any
    OUTPUTS: tuple[str, ...]

    def inputs(self, config: Any) -> _features.Inputs:
        """Inputs in the order of `forward`."""

    def build(self, config: Any) -> Any:
        """The model with fresh weights: a PyTorch module, or a Keras model that takes its inputs by name."""


@dataclass(frozen=True)
class Job:
    """One export: which architecture, how large, by which exporter."""

    architecture: str
    size: str
    exporter: str

    @property
    def name(self) -> str:
        """Name of the files, without their endings."""
        return f"{self.architecture}_{SUFFIXES[self.exporter]}"

    @property
    def definition(self) -> Definition:
        """The architecture's module."""
        return definition_of(self.architecture)

    @property
    def config(self) -> Any:
        """The sizes."""
        return getattr(self.definition.Config, self.size)()


class Backend(Protocol):
    """What is left to a framework."""

    def source(self, exporter: str) -> str:
        """Which exporter it was, with its version."""

    def trace(self, job: Job, samples: dict[str, np.ndarray], path: Path) -> None:
        """Build the model and write it as ONNX."""


def definition_of(architecture: str) -> Definition:
    """The module of an architecture."""
    return cast(Definition, importlib.import_module(f"models.{architecture}"))


def exporters(architecture: str) -> tuple[str, ...]:
    """The exporters that an architecture can go through."""
    return ("tf2onnx",) if architecture in KERAS else ("ts", "dynamo")


def backend(exporter: str) -> Backend:
    """The framework of an exporter, imported only now: nobody needs both."""
    name = "_keras_backend" if exporter == "tf2onnx" else "_torch_backend"
    return cast(Backend, importlib.import_module(f"models.{name}"))


def export(job: Job, folder: Path) -> Path:
    """Write the model and its metadata; return the model's path."""
    framework, definition = backend(job.exporter), job.definition
    batch: int | None = getattr(definition, "BATCH", None)
    meta = _features.metadata(
        job.name,
        definition.inputs(job.config),
        definition.OUTPUTS,
        source=f"models/{job.architecture}.py, {job.size}",
        exporter=framework.source(job.exporter),
        opset=OPSETS[job.exporter],
        batch=batch or "B",
    )
    path = folder / f"{job.name}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    _, samples = catalog.draw(catalog.parse(meta, path), batch or SAMPLE, SEED)
    framework.trace(job, samples, path)
    model = onnx.load(path)
    _drop_notes(model)
    onnx.save(model, path)
    _name_batches(meta, model)
    path.with_suffix(".json").write_text(json.dumps(meta, indent=1) + "\n")
    return path


def _name_batches(meta: dict[str, Any], model: onnx.ModelProto) -> None:
    """Call each batch axis what the exporter called it: some make up a name for each input."""
    names = {value.name: value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input}
    for spec in meta["inputs"]:
        spec["shape"][0] = names[spec["name"]] or spec["shape"][0]


def _drop_notes(message: Message) -> None:
    """Drop the exporter's notes: they hold stack traces, so they name the folders of whoever ran the export."""
    for note in ("doc_string", "metadata_props"):
        if note in message.DESCRIPTOR.fields_by_name:
            message.ClearField(note)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if isinstance(value, Message) else value:
            _drop_notes(part)
