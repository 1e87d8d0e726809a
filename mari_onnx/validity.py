"""Whether a model is valid ONNX, as the checker of the onnx package sees it."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from mari_onnx.analysis.contrib import DOMAIN as RUNTIME_DOMAIN
from mari_onnx.errors import ModelError
from mari_onnx.ir.external import is_external
from mari_onnx.ir.proto import default_set
from mari_onnx.load import Loaded, without_external_data
from mari_onnx.runtime import session
from mari_onnx.verification.sessions import runtime_message


def check_valid(loaded: Loaded) -> None:
    """Raises ModelError where the model is not valid ONNX."""
    problem = _checker_problem(loaded.model, full=False)
    if problem:
        raise ModelError(f"{loaded.name} is not a valid model: {problem.splitlines()[0]}")


def check_result(model: onnx.ModelProto, loaded: Loaded) -> None:
    """Raises ModelError where the result is not valid ONNX, in any way in which the original is."""
    problem = _checker_problem(model, full=not _is_large(model))
    if problem and not (not _checker_problem(model, full=False) and _checker_problem(loaded.model, full=True)):
        # The checker folds no constants, so shapes that contradict each other may be seen in the result alone.
        if refusal := _refusal(loaded):
            raise ModelError(f"{loaded.name}: ONNX Runtime cannot load it: {refusal}")
        raise ModelError(f"the result for {loaded.name} fails the checker, please report it: {problem}")


def _refusal(loaded: Loaded) -> str:
    """Why ONNX Runtime does not load a model; empty where it does, or is not there."""
    try:
        session(loaded.model, threads=1, folder=loaded.folder)
    except ModelError:
        return ""
    except Exception as error:  # a status class of the runtime
        return runtime_message(error)
    return ""


def _checker_problem(model: onnx.ModelProto, *, full: bool) -> str:
    """What onnx's checker says; empty where it is content. ``full`` infers types and shapes as well."""
    checked = _checkable(model)
    shaped = _with_shapes_of_outputs(checked)
    try:
        onnx.checker.check_model(shaped, full_check=full and shaped is checked)
        if full and shaped is not checked:
            onnx.shape_inference.infer_shapes(checked, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        return str(error).strip()  # ValueError: names that are no text, element types that do not exist
    return ""


KEPT_BY_THE_RUNTIME = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
"""What ONNX Runtime saves in the standard domain, though the standard has it later or not at all."""


def _is_large(model: onnx.ModelProto) -> bool:
    return bool(model.ByteSize() > 1 << 30)


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself, or with stand-ins for what the checker does not know.

    These are external weights, whose files it would look for, and operators that ONNX Runtime calls standard.
    """
    if any(map(is_external, model.graph.initializer)):
        model = without_external_data(model)
    version = default_set(model) or 0
    own = {op for op in KEPT_BY_THE_RUNTIME if not onnx.defs.has(op, max_inclusive_version=version, domain="")}
    return _under_another_domain(model, own) if any(n.op_type in own for n in model.graph.node) else model


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return not value.type.HasField("tensor_type") or value.type.tensor_type.HasField("shape")


def _with_shapes_of_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with some shape for each output, of whatever size: the checker asks for one, ONNX Runtime does not.

    Returns:
        The model itself where each has one.
    """
    if all(map(_has_shape, model.graph.output)):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in result.graph.output:
        if not _has_shape(value):
            value.type.tensor_type.shape.SetInParent()
    return result


def _under_another_domain(model: onnx.ModelProto, operators: Collection[str]) -> onnx.ModelProto:
    """The model with operators of the standard domain in one that the checker does not look into."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in result.graph.node:
        if node.op_type in operators and not node.domain:
            node.domain = RUNTIME_DOMAIN
    if all(o.domain != RUNTIME_DOMAIN for o in result.opset_import):
        result.opset_import.append(onnx.helper.make_opsetid(RUNTIME_DOMAIN, 1))
    return result
