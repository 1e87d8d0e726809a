"""Ranking architectures of our own, and the small ONNX exports of them that the tests read.

A definition is one file with `Config`, `inputs`, `build` and `OUTPUTS`; it needs PyTorch, or Keras with TensorFlow.
Reading the exported graphs (`models.catalog`) needs numpy only.
"""

from __future__ import annotations

ARCHITECTURES: tuple[str, ...] = (
    "wide_deep",
    "deepfm",
    "xdeepfm",
    "dcn",
    "dcnv2",
    "dcnv2_mix",
    "dlrm",
    "bags",
    "pnn",
    "fibinet",
    "masknet",
    "wukong",
    "din",
    "dien",
    "bst",
    "sim",
    "eta",
    "autoint",
    "mmoe",
    "ple",
    "esmm",
    "finalmlp",
    "rankmixer",
    "rankmixer_separated",
    "student",
    "hstu",
    "separated_transformer",
    "fixed_batch_dnn",
    "stacked_dnn",
    "shared_table_fm",
    "time_major_attention",
    "gru_history",
    "two_tower",
)
"""Architectures in PyTorch, each exported by its legacy exporter and by the current one."""

KERAS: tuple[str, ...] = ("keras_din",)
"""Architectures in Keras, exported by tf2onnx."""
