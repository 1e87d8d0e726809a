"""Turn a definition into one self-contained ONNX file and its metadata."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import onnx
import torch
from google.protobuf.message import Message
from torch import Tensor, nn

from models import _features, _layers, catalog

SEED = 20
SAMPLE = 5  # any batch but 0 and 1, which exporters treat as constants
OPSETS = {"ts": 17, "dynamo": 20}
SUFFIXES = {"ts": "ts17", "dynamo": "dyn"}


class Definition(Protocol):
    """What an architecture's file holds. `BATCH` is there when the batch is not symbolic."""

    Config: Any
    OUTPUTS: tuple[str, ...]

    def inputs(self, config: Any) -> _features.Inputs:
        """Inputs in the order of `forward`."""

    def build(self, config: Any) -> nn.Module:
        """The model with fresh weights."""


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
        return cast(Definition, importlib.import_module(f"models.{self.architecture}"))


def export(job: Job, folder: Path) -> Path:
    """Write the model and its metadata; return the model's path."""
    definition = job.definition
    config = getattr(definition.Config, job.size)()
    inputs = definition.inputs(config)
    batch: int | None = getattr(definition, "BATCH", None)
    meta = _features.metadata(
        job.name,
        inputs,
        definition.OUTPUTS,
        source=f"models/{job.architecture}.py, {job.size}",
        exporter=f"torch.onnx.export(dynamo={job.exporter == 'dynamo'}), torch {torch.__version__}",
        opset=OPSETS[job.exporter],
        batch=batch or "B",
    )
    path = folder / f"{job.name}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    _, feeds = catalog.draw(catalog.parse(meta, path), batch or SAMPLE, SEED)
    samples = {name: torch.from_numpy(value) for name, value in feeds.items()}
    _trace(_module(definition, config), samples, definition.OUTPUTS, job.exporter, dynamic=batch is None, path=path)
    _tidy(path)
    path.with_suffix(".json").write_text(json.dumps(meta, indent=1) + "\n")
    return path


def _module(definition: Definition, config: Any) -> nn.Module:
    torch.manual_seed(SEED)
    module = definition.build(config)
    _layers.randomize(module)
    return module.eval()


def _trace(
    module: nn.Module,
    samples: dict[str, Tensor],
    outputs: Iterable[str],
    exporter: str,
    *,
    dynamic: bool,
    path: Path,
) -> None:
    names, outputs = list(samples), list(outputs)
    options: dict[str, Any] = {"dynamo": exporter == "dynamo"}
    if exporter == "dynamo":
        batch = torch.export.Dim("B")
        options |= {"external_data": False, "verbose": False}
        options |= {"dynamic_shapes": tuple({0: batch} for _ in names) if dynamic else None}
    else:
        options |= {"dynamic_axes": {name: {0: "B"} for name in [*names, *outputs]} if dynamic else None}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # each legacy export announces that it is deprecated
        torch.onnx.export(
            module,
            tuple(samples.values()),
            str(path),
            input_names=names,
            output_names=outputs,
            opset_version=OPSETS[exporter],
            **options,
        )


def _tidy(path: Path) -> None:
    """Drop the exporter's notes: they hold stack traces, so they name the folders of whoever ran the export."""
    model = onnx.load(path)
    _drop_notes(model)
    onnx.save(model, path)


def _drop_notes(message: Message) -> None:
    for note in ("doc_string", "metadata_props"):
        if note in message.DESCRIPTOR.fields_by_name:
            message.ClearField(note)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if isinstance(value, Message) else value:
            _drop_notes(part)
