"""Whether a model is valid ONNX, as the checker of the onnx package sees it."""

from __future__ import annotations

import onnx

from mari_onnx.errors import ModelError
from mari_onnx.load import Loaded, without_external_data


def check_valid(loaded: Loaded) -> None:
    """Raises ModelError where the model is not valid ONNX."""
    problem = _checker_problem(loaded.model, full=False)
    if problem:
        raise ModelError(f"{loaded.name} is not a valid model: {problem.splitlines()[0]}")


def check_result(model: onnx.ModelProto, loaded: Loaded) -> None:
    """Raises ModelError where the result is not valid ONNX, in any way in which the original is."""
    problem = _checker_problem(model, full=not _is_large(model))
    if problem and not (not _checker_problem(model, full=False) and _checker_problem(loaded.model, full=True)):
        raise ModelError(f"the result for {loaded.name} fails the checker, please report it: {problem}")


def _checker_problem(model: onnx.ModelProto, *, full: bool) -> str:
    """What onnx's checker says; empty where it is content. ``full`` infers types and shapes as well."""
    try:
        onnx.checker.check_model(_checkable(model), full_check=full)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        return str(error).strip()  # ValueError: names that are no text, element types that do not exist
    return ""


def _is_large(model: onnx.ModelProto) -> bool:
    return bool(model.ByteSize() > 1 << 30)


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself, or with stand-ins for external weights, whose files the checker would look for."""
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if not external:
        return model
    return without_external_data(model)
