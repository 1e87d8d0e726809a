"""Running models in ONNX Runtime on the CPU, which is the judge of all comparisons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper

from mari_onnx.errors import ModelError
from mari_onnx.runtime import DATA_FOLDER, runtime_path
from mari_onnx.verification.source import Array, ModelSource, all_tensors, load_inline

PROVIDERS = ("CPUExecutionProvider",)
LONGEST_MESSAGE = 300
IN_ITS_SOURCE = re.compile(r"\S+\.(?:h|cc):\d+ (?:(?:[\w:<>&*~]+ )?[\w:<>~]*::[\w~]+\([^()]*\)(?: const)? )?")
"""Where in the runtime a message comes from, and of which function."""
QUIET = 4  # only fatal messages: failures are reported by exceptions


class RunError(Exception):
    """A model could not be run on some feeds; the text is the runtime's own."""


@dataclass(frozen=True)
class Session:
    """A model ready to run.

    Attributes:
        outputs: output names in order.
        bfloat16: output names whose type numpy lacks; they arrive as float32, which holds them exactly.
    """

    handle: Any
    outputs: tuple[str, ...]
    bfloat16: frozenset[str] = frozenset()
    _casts: frozenset[str] = frozenset()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model.

        Args:
            feeds: an array for each input.

        Returns:
            The outputs by name.

        Raises:
            RunError: the runtime refused.
        """
        fed = {name: array.astype(np.float32) if name in self._casts else array for name, array in feeds.items()}
        try:
            results = self.handle.run(list(self.outputs), fed, _quiet_run())
        except Exception as error:  # the runtime has a class for each status code and no common base
            raise RunError(runtime_message(error)) from error
        return dict(zip(self.outputs, map(_as_array, results), strict=True))


def _as_array(result: Any) -> Array:
    """An output as an array; of a sequence, one with its parts as entries, which may differ in shape."""
    if not (isinstance(result, list) and any(isinstance(part, np.ndarray) for part in result)):
        return np.asarray(result)
    parts = np.empty(len(result), object)
    for index, part in enumerate(result):
        parts[index] = part
    return parts


def import_runtime() -> Any:
    """The onnxruntime module.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ModelError("onnxruntime is not installed: pip install 'mari-onnx[cpu]' or 'mari-onnx[gpu]'") from None
    return onnxruntime


def _quiet_run() -> Any:
    options = import_runtime().RunOptions()
    options.log_severity_level = QUIET
    return options


def open_session(source: ModelSource, *, optimize: bool = True) -> Session:
    """Creates a session, from the file where there is one.

    Args:
        source: the model.
        optimize: whether the runtime may apply its own graph optimizations.

    Returns:
        The session.

    Raises:
        ModelError: the runtime is missing or refuses the model.
    """
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = QUIET
    level = runtime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    if source.base is not None:
        options.add_session_config_entry(DATA_FOLDER, runtime_path(source.base))
    path = runtime_path(source.path) if source.path is not None else None
    proto, casts = source.proto, frozenset[str]()
    names = [info.name for info in proto.graph.output]
    bfloat16 = frozenset(info.name for info in (*proto.graph.input, *proto.graph.output) if _is_bfloat16(info))
    try:
        if bfloat16:
            casts, model = bfloat16, _with_float32_ends(source).SerializeToString()
        else:
            model = path if path is not None else proto.SerializeToString()
        handle = runtime.InferenceSession(model, options, providers=list(PROVIDERS))
    except Exception as error:  # a status class of the runtime, or protobuf's 2 GiB limit
        raise ModelError(f"{source.role}: ONNX Runtime cannot load it: {runtime_message(error)}") from error
    return Session(handle, tuple(names), casts & frozenset(names), casts)


def runtime_message(error: BaseException) -> str:
    """The runtime's message on one line, without its status prefix."""
    text = IN_ITS_SOURCE.sub("", " ".join(str(error).split()))
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text) or type(error).__name__
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


def _is_bfloat16(info: onnx.ValueInfoProto) -> bool:
    return bool(info.type.tensor_type.elem_type == TensorProto.BFLOAT16)


def with_weights(source: ModelSource, but: frozenset[str] = frozenset()) -> onnx.ModelProto:
    """A copy of the model that may be changed, with its weights inline, but for some."""
    copy = onnx.ModelProto()
    copy.CopyFrom(source.proto)
    for tensor in all_tensors(copy.graph):
        if external_data_helper.uses_external_data(tensor) and tensor.name not in but:
            load_inline(tensor, source.folder)
    return copy


def _with_float32_ends(source: ModelSource) -> onnx.ModelProto:
    """Casts around bfloat16 inputs and outputs, since numpy arrays of that type cannot cross the runtime's border."""
    model = with_weights(source)
    graph = model.graph
    inputs = [info for info in graph.input if _is_bfloat16(info)]
    outputs = [info for info in graph.output if _is_bfloat16(info)]
    inner = {info.name: f"{info.name}__bfloat16" for info in (*inputs, *outputs)}
    _rename(graph.node, inner)
    nodes = [onnx.helper.make_node("Cast", [one.name], [inner[one.name]], to=TensorProto.BFLOAT16) for one in inputs]
    nodes += graph.node
    nodes += [onnx.helper.make_node("Cast", [inner[one.name]], [one.name], to=TensorProto.FLOAT) for one in outputs]
    del graph.node[:]
    graph.node.extend(nodes)
    for info in (*inputs, *outputs):
        info.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def _rename(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Renames tensors in nodes, captures of nested graphs included."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g.node, names)
