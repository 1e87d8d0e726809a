"""The judge of the soundness tests. It shares no code with `mari_onnx.verification`: one bug must not hide another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

Feeds = Mapping[str, Any]


class NotRunnableError(Exception):
    """ONNX Runtime does not run the model, or not on these inputs."""


class Runner:
    """A model in ONNX Runtime, run as it is written, so that what is compared is the model and not its optimizer."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has many kinds of exceptions
            raise NotRunnableError(str(error)) from error

    def __call__(self, feeds: Feeds) -> list[Any]:
        wanted = {i.name for i in self._session.get_inputs()}
        try:
            return list(self._session.run(None, {k: v for k, v in feeds.items() if k in wanted}))
        except Exception as error:
            raise NotRunnableError(str(error)) from error


def difference(expected: Sequence[Any], found: Sequence[Any], exact: bool = False) -> str | None:
    """What is wrong with the results, `None` where they agree."""
    if len(expected) != len(found):
        return f"{len(found)} outputs instead of {len(expected)}"
    for index, (left, right) in enumerate(zip(expected, found, strict=True)):
        text = _difference(left, right, exact)
        if text is not None:
            return f"output {index}: {text}"
    return None


def _difference(left: Any, right: Any, exact: bool) -> str | None:
    if isinstance(left, list):
        return difference(left, right, exact) if isinstance(right, list) else "not a sequence"
    if left is None or right is None:
        return None if left is right else "absent"
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype != right.dtype or left.shape != right.shape:
        return f"{right.dtype}{list(right.shape)} instead of {left.dtype}{list(left.shape)}"
    if exact or left.dtype.kind not in "fcV":
        same = np.array_equal(left, right, equal_nan=left.dtype.kind in "fc")
        return None if same else f"differs at {_places(left, right)}"
    return _beyond_tolerance(left, right)


def _beyond_tolerance(left: np.ndarray, right: np.ndarray) -> str | None:
    """Errors count relative to the scale of the tensor: additions in another order cancel differently."""
    coarse = 1e-4 if left.dtype.itemsize >= 4 else 1e-2
    wide = np.complex128 if left.dtype.kind == "c" else np.float64
    left, right = left.astype(wide), right.astype(wide)
    with np.errstate(all="ignore"):
        if not np.array_equal(np.isfinite(left), np.isfinite(right)):
            return "finite in other places"
        if not np.array_equal(left[~np.isfinite(left)], right[~np.isfinite(right)], equal_nan=True):
            return "other infinities"
        sizes = np.abs(left[np.isfinite(left)])
        scale = float(sizes.max()) if sizes.size else 0.0
        gap = np.abs(left - right)[np.isfinite(left)]
    worst = float(gap.max()) if gap.size else 0.0
    return None if worst <= coarse * scale + 1e-7 else f"off by {worst:.3g} at a scale of {scale:.3g}"


def _places(left: np.ndarray, right: np.ndarray) -> str:
    return str(np.argwhere(np.asarray(left != right))[:3].tolist())
