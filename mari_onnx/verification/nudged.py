"""The original with its weights moved by their last bit: how far rounding alone takes it.

Where a model rounds to integers while it runs there is no run in double precision to compare with. But a sum that
comes out different in its last bit may be rounded to the next integer, in the original as well as in the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from mari_onnx.errors import MariError
from mari_onnx.verification.reference import LARGEST_WEIGHTS
from mari_onnx.verification.report import OutputReport
from mari_onnx.verification.sessions import RunError, open_session, with_weights
from mari_onnx.verification.source import Array, ModelSource, weight_bytes

Outputs = Mapping[str, Array]


def run_nudged(source: ModelSource, feeds: Mapping[str, Array]) -> Outputs:
    """The outputs with float32 weights that are one bit larger or smaller in turn; scales of integers stay.

    Returns:
        Nothing where the model is too large for a copy, or the copy does not run.
    """
    if weight_bytes(source.proto) > LARGEST_WEIGHTS:
        return {}
    model = with_weights(source)
    scales = {v for node in model.graph.node if "Linear" in node.op_type for v in node.input}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            tensor.CopyFrom(numpy_helper.from_array(_nudged(numpy_helper.to_array(tensor)), tensor.name))
    base = Path(source.folder).absolute() if source.folder else None
    try:
        return open_session(ModelSource(model, None, "original model with other rounding", base)).run(feeds)
    except (MariError, RunError):
        return {}


def _nudged(array: Array) -> Array:
    upwards = np.arange(array.size).reshape(array.shape) % 2 == 0
    moved = np.nextafter(array, np.where(upwards, np.inf, -np.inf).astype(array.dtype))
    return np.where(array == 0, array, moved)


def beside_nudged(reports: Mapping[str, OutputReport], expected: Outputs, nudged: Outputs) -> dict[str, OutputReport]:
    """Adds to the reports of outputs that differ how far these go in the original.

    Args:
        reports: All outputs by name.
        expected: The original's outputs.
        nudged: Those with other rounding.
    """
    return {
        name: replace(report, nudged=float(np.max(np.abs(nudged[name] - expected[name]), initial=0.0)))
        for name, report in reports.items()
        if report.mismatch is not None and name in nudged and expected[name].dtype.kind == "f"
    }
