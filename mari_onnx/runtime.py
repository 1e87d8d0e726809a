"""ONNX Runtime, imported when it is first needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mari_onnx.errors import ModelError


def onnxruntime() -> Any:
    """The onnxruntime module.

    Raises:
        ModelError: It is not installed.
    """
    try:
        import onnxruntime as module
    except ImportError as error:
        raise ModelError(
            "onnxruntime is not installed: pip install 'mari-onnx[cpu]', or 'mari-onnx[gpu]' for NVIDIA GPUs"
        ) from error
    return module


def runtime_path(path: str | os.PathLike[str]) -> str:
    """A path as ONNX Runtime opens it: it takes text for UTF-8, whatever the locale says.

    Raises:
        ModelError: Its name is not UTF-8.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{os.fspath(path)}: ONNX Runtime opens only files whose path is UTF-8: rename it") from None


DATA_FOLDER = "session.model_external_initializers_file_folder_path"
"""The option of ONNX Runtime that says where the external data of a model in memory lies."""


def session(
    model: onnx.ModelProto | str, *, threads: int = 0, optimized: bool = True, folder: Path | None = None
) -> Any:
    """An inference session on the CPU.

    Args:
        model: A model, or the path of one.
        threads: How many to use; 0 leaves it to ONNX Runtime.
        optimized: Whether ONNX Runtime may rewrite the graph.
        folder: Where the external data of a model in memory lies.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder is not None:
        options.add_session_config_entry(DATA_FOLDER, runtime_path(folder))
    source = runtime_path(model) if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run_once(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs of a small model, run as it is written."""
    return list(session(model, threads=1, optimized=False).run(None, dict(feeds)))
