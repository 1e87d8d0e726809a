"""The original with its weights moved by their last bit: how far rounding alone takes it.

Where a model rounds to integers while it runs there is no run in double precision to compare with. But a sum that
comes out different in its last bit may be rounded to the next integer, in the original as well as in the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto, numpy_helper

from mari_onnx.errors import MariError
from mari_onnx.verification.choices import Outputs
from mari_onnx.verification.compare import Tolerance, compare_arrays
from mari_onnx.verification.reference import LARGEST_WEIGHTS, draws_numbers, rounds_to_integers
from mari_onnx.verification.report import OutputReport
from mari_onnx.verification.sessions import RunError, open_session, with_weights
from mari_onnx.verification.source import Array, ModelSource, weight_bytes


def run_nudged(source: ModelSource, feeds: Mapping[str, Array]) -> Outputs:
    """The outputs with float32 weights that are one bit larger or smaller in turn; scales of integers stay.

    Returns:
        Nothing where the model does not round to integers, draws random numbers, is too large for a copy, or where
        the copy does not run.
    """
    if not rounds_to_integers(source) or draws_numbers(source) or weight_bytes(source.proto) > LARGEST_WEIGHTS:
        return {}
    model = with_weights(source)
    scales = {v for node in model.graph.node if "Linear" in node.op_type for v in node.input}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            tensor.CopyFrom(numpy_helper.from_array(_nudged(numpy_helper.to_array(tensor)), tensor.name))
    try:
        return open_session(source.replaced(model, "original model with other rounding")).run(feeds)
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
    found: dict[str, OutputReport] = {}
    for name, report in reports.items():
        if report.mismatch is not None and name in nudged and expected[name].dtype.kind == "f":
            difference = compare_arrays(expected[name], nudged[name], Tolerance(0.0, 0.0)).difference
            found[name] = replace(report, nudged=difference.max_abs if difference is not None else None)
    return found
