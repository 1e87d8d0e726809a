"""What the user should know of a result before it is used: sentences for the notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto

from mari_onnx.analysis import InputSide
from mari_onnx.candidates import OPEN_BATCH, dims_of, shape_text
from mari_onnx.declared import corrections
from mari_onnx.normalise import works_as_in_training

if TYPE_CHECKING:
    from mari_onnx.ir.graph import Graph
    from mari_onnx.options import Options
    from mari_onnx.pipeline import Built
    from mari_onnx.report import Report

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)

LAID_OUT = "com.microsoft.nchwc"
"""Convolutions in blocks of channels, as many as fit the registers of the processor on which the graph was saved."""


def remarks_on_result(model: onnx.ModelProto, built: Built, options: Options, report: Report) -> tuple[str, ...]:
    """Of the inputs, of what the model says of itself, and of what was gained.

    Args:
        model: The original.
        built: The result.
        options: How it was made.
        report: Its figures.
    """
    remarks = list(_of_inputs(model, built, options))
    remarks += remarks_on_model(built)
    if _gains_nothing(built, report):
        remarks.append(
            f"by estimate nothing is gained at {report.candidates} candidates: the user's row is only repeated inside, "
            "and `mari-onnx explain` shows what is in the way"
        )
    return tuple(remarks)


def remarks_on_model(built: Built) -> tuple[str, ...]:
    """Of what the model says of itself, and of how it was saved."""
    remarks = list(_of_a_fixed_batch(built))
    if built.converted_from:
        remarks.append(
            f"opset {built.converted_from} is converted to {built.original.opset}, with onnx.version_converter"
        )
    wrong = corrections(built.original.outputs, built.graph.outputs)
    if wrong:
        remarks.append(f"the model declares wrong shapes, and the result does not: {', '.join(wrong)}")
    laid_out = [n for n in built.original.nodes if n.domain == LAID_OUT]
    if laid_out:
        remarks.append(
            f"ONNX Runtime saved this graph with ORT_ENABLE_ALL, laid out for one kind of processor: nothing is proven "
            f"behind its {len(laid_out)} operators of {LAID_OUT}. Optimize the model that it was made of, or save with "
            "ORT_ENABLE_EXTENDED"
        )
    remarks += _of_training(built.original)
    return tuple(remarks)


def _of_training(graph: Graph) -> Iterator[str]:
    """ONNX Runtime leaves such Dropouts out when it loads a graph, so that nobody sees them."""
    at_work = [node.where() for node in graph.nodes if works_as_in_training(node, graph)]
    if at_work:
        others = {1: "works", 2: "and 1 other operator work"}.get(len(at_work), f"and {len(at_work) - 1} others work")
        yield (
            f"{at_work[0]} {others} as in training, so nothing is proven behind: export the model in evaluation mode, "
            "in PyTorch after model.eval()"
        )


def _of_inputs(model: onnx.ModelProto, built: Built, options: Options) -> Iterator[str]:
    before, after = built.original.inputs, built.graph.inputs
    kept = [n for n in built.analysis.inputs.on(InputSide.USER) if before.get(n) == after.get(n)]
    given = {v.name for v in model.graph.input}
    defaults = [t.name for t in model.graph.initializer if t.name in given and model.ir_version >= 4]
    if kept and not options.keep_signature:
        yield f"keep all their rows, for they are outputs as well or cannot be repeated: {', '.join(kept)}"
    if defaults:
        yield f"inputs that have a value in the model are taken for constants: {', '.join(defaults)}"


def _of_a_fixed_batch(built: Built) -> Iterator[str]:
    """Where the candidates are is known by name only: a number may be that of anything."""
    inputs, rows = built.analysis.inputs, built.analysis.inputs.batch
    if rows is None or rows == 1:
        return
    unsure = [
        f"{name} {shape_text(built.original, name)}"
        for name, axis in inputs.axes.items()
        if name in built.original.inputs and _has_on_another_axis(built.original, name, axis, rows)
    ]
    if unsure:
        yield (
            f"the {rows} candidates are taken to be on the first axis of {', '.join(unsure)}; if they are on another, "
            f"{OPEN_BATCH}"
        )
    shapes = [fact.shape for v in built.original.outputs if (fact := built.analysis.facts.get(v)) is not None]
    sizes = [dim for shape in shapes for dim in shape or (0,)]
    if sizes and all(isinstance(dim, int) and dim % rows for dim in sizes):
        yield (
            f"the {rows} candidates are taken to be on the first axis of all inputs, and no output has an entry for "
            f"each; if they are on another, {OPEN_BATCH}"
        )


def _has_on_another_axis(graph: Graph, name: str, axis: int, rows: int) -> bool:
    """Whether an input may have the candidates there; the columns of a matrix of floats are features, however many."""
    dims = dims_of(graph, name)
    if len(dims) == 2 and graph.inputs[name].type.tensor_type.elem_type in FLOATS:
        return False
    return any(k != axis and dim.dim_value == rows for k, dim in enumerate(dims))


def _gains_nothing(built: Built, report: Report) -> bool:
    """Whether a request takes as long as before; ``False`` where that of the original cannot be told.

    Loops and writes that became other operators have no figures.
    """
    made = [v for node in built.original.nodes for v in node.outputs if v]
    if not built.analysis.inputs.on(InputSide.USER) or not all(v in built.analysis.facts for v in made):
        return False
    return report.after.microseconds >= report.before.microseconds
