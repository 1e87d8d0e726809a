"""The operator sets that a model imports, made to say what its nodes need."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.version_converter

from mari_onnx.ir.external import is_external
from mari_onnx.ir.proto import DEFAULT, default_set
from mari_onnx.ir.subgraphs import all_graphs

ASSUMED = {"com.microsoft": 1}
"""Operator sets of one version alone, which ONNX Runtime knows without an import."""

OLDEST_CONVERTED = 7
"""What is older is converted to nothing that ONNX Runtime could be asked to compare with."""


def with_operator_sets(model: onnx.ModelProto, oldest: int) -> onnx.ModelProto:
    """The model with the imports it lacks, and a newer ai.onnx set where all its operators are the same there.

    Converters leave the import out where only other sets are used (trees in ai.onnx.ml) or forget it (tf2onnx inside
    loops), and name the oldest set that will do.

    Args:
        model: Never changed.
        oldest: The least version of the ai.onnx set to come out with.

    Returns:
        The model itself where nothing is missing, or where nothing helps.
    """
    nodes = [node for graph in all_graphs(model.graph) for node in graph.node]
    imported = {o.domain: o.version for o in model.opset_import}
    domains = {n.domain for n in nodes}
    missing = {d: v for d, v in ASSUMED.items() if d in domains and d not in imported}
    default = next((imported[d] for d in DEFAULT if d in imported), None)
    if default is None and domains.isdisjoint(DEFAULT):
        missing[""] = max(_newest_of(model.ir_version), oldest)
    elif default is not None and default < oldest and _same_operators(nodes, default, oldest):
        missing[""] = oldest
    return _importing(model, missing) if missing else model


def converted(model: onnx.ModelProto, oldest: int) -> onnx.ModelProto:
    """The model as onnx's own converter writes it with a newer ai.onnx set: attributes become inputs, as a rule.

    What the result computes is verified against the model as it came.

    Args:
        model: Never changed. Its external data is not looked at, so it may have none.
        oldest: The least version of the ai.onnx set to come out with.

    Returns:
        The model itself where it is new enough, older than ONNX Runtime takes, or not to be converted.
    """
    version = default_set(model)
    if version is None or not OLDEST_CONVERTED <= version < oldest or not _is_plain(model):
        return model
    try:
        onnx.checker.check_model(model)  # the converter crashes on what is no model
        result = onnx.version_converter.convert_version(model, oldest)
        onnx.checker.check_model(result)
    except (onnx.checker.ValidationError, RuntimeError, ValueError):
        return model
    return result if _ends(result) == _ends(model) else model


def _ends(model: onnx.ModelProto) -> list[str]:
    """The names that callers use."""
    return [value.name for value in (*model.graph.input, *model.graph.output)]


def _is_plain(model: onnx.ModelProto) -> bool:
    """Whether a model has neither bodies nor functions, which the converter leaves as they are, nor external data."""
    outside = any(is_external(t) for t in model.graph.initializer)
    return not outside and not model.functions and len(list(all_graphs(model.graph))) == 1


def _importing(model: onnx.ModelProto, versions: dict[str, int]) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [o for o in model.opset_import if not ("" in versions and o.domain in DEFAULT)]
    del result.opset_import[:]
    result.opset_import.extend([*kept, *(onnx.helper.make_opsetid(d, v) for d, v in versions.items())])
    needed = onnx.helper.find_min_ir_version_for(
        [o for o in result.opset_import if o.domain in (*DEFAULT, "ai.onnx.ml")], ignore_unknown=True
    )
    result.ir_version = max(model.ir_version, needed)
    return result


def _newest_of(ir_version: int) -> int:
    """The newest ai.onnx set of the time of a version of the format, or of the installed onnx."""
    known = [int(row[2]) for row in onnx.helper.VERSION_TABLE if int(row[1]) <= ir_version]
    return min(max(known, default=1), onnx.defs.onnx_opset_version())


def _same_operators(nodes: Iterable[onnx.NodeProto], old: int, new: int) -> bool:
    try:
        return all(
            onnx.defs.get_schema(n.op_type, old, "").since_version
            == onnx.defs.get_schema(n.op_type, new, "").since_version
            for n in nodes
            if n.domain in DEFAULT
        )
    except onnx.defs.SchemaError:
        return False
