"""Definitions in Keras, and tf2onnx."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from models._exporting import OPSETS, SEED, Job


def source(exporter: str) -> str:
    """Which exporter it was, with its version."""
    return f"{exporter} {tf2onnx.__version__}, tensorflow {tf.__version__}, keras {keras.__version__}"


def trace(job: Job, samples: dict[str, np.ndarray], path: Path) -> None:
    """Build the model and write it as ONNX."""
    keras.utils.set_random_seed(SEED)
    model = job.definition.build(job.config)
    randomize(model)
    (output,) = job.definition.OUTPUTS
    signature = [tf.TensorSpec((None, *value.shape[1:]), value.dtype, name) for name, value in samples.items()]

    def named(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: model(dict(zip(samples, values, strict=True)), training=False)}

    made, _ = tf2onnx.convert.from_function(
        tf.function(named, input_signature=signature), input_signature=signature, opset=OPSETS[job.exporter]
    )
    onnx.save(made, path)


def randomize(model: Any) -> None:
    """Draw weights that let a mistake show, as `models._layers.randomize` does."""
    rng = np.random.default_rng(SEED)
    for weight in model.variables:
        shape = tuple(weight.shape)
        if weight.name == "kernel":
            weight.assign(rng.normal(0, (2 / shape[0]) ** 0.5, shape))
        elif weight.name == "embeddings":
            weight.assign(rng.normal(0, min(0.35, shape[-1] ** -0.5), shape))
        elif weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, shape))
        elif weight.name in ("gamma", "moving_variance", "alpha"):
            weight.assign(rng.uniform(0.5, 1.5, shape))
