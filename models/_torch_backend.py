"""Definitions in PyTorch, and its two exporters."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models import _layers, catalog
from models._distilling import imitate
from models._exporting import OPSETS, SEED, Job, definition_of
from models._features import metadata

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about each library it cannot find


def source(exporter: str) -> str:
    """Which exporter it was, with its version."""
    return f"torch.onnx.export(dynamo={exporter == 'dynamo'}), torch {torch.__version__}"


def trace(job: Job, samples: dict[str, np.ndarray], path: Path) -> None:
    """Build the model and write it as ONNX."""
    names, outputs = list(samples), list(job.definition.OUTPUTS)
    dynamic = not hasattr(job.definition, "BATCH")
    options: dict[str, Any] = {"dynamo": job.exporter == "dynamo"}
    if job.exporter == "dynamo":
        batch = torch.export.Dim("B")
        options |= {"external_data": False, "verbose": False}
        options |= {"dynamic_shapes": tuple({0: batch} for _ in names) if dynamic else None}
    else:
        options |= {"dynamic_axes": {name: {0: "B"} for name in [*names, *outputs]} if dynamic else None}
    model = module(job.architecture, job.size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # each legacy export announces that it is deprecated
        torch.onnx.export(
            model,
            tuple(torch.from_numpy(value) for value in samples.values()),
            str(path),
            input_names=names,
            output_names=outputs,
            opset_version=OPSETS[job.exporter],
            **options,
        )


def module(architecture: str, size: str) -> nn.Module:
    """An architecture with its weights: random ones, or what a teacher left in them."""
    definition = definition_of(architecture)
    config = getattr(definition.Config, size)()
    torch.manual_seed(SEED)
    made: nn.Module = definition.build(config)
    _layers.randomize(made)
    teacher: str | None = getattr(definition, "TEACHER", None)
    if teacher is not None:
        meta = metadata(architecture, definition.inputs(config), definition.OUTPUTS, source="", exporter="", opset=0)
        imitate(made, module(teacher, size), catalog.parse(meta, Path()))
    return made.eval()
