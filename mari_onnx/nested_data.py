"""External data of nested graphs and of Constant nodes, as weights of the main graph: no reader looks elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import NodeProto, TensorProto

from mari_onnx.ir.external import is_external
from mari_onnx.ir.subgraphs import all_graphs


def with_outer_data(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with external data in initializers of its main graph alone; nested graphs read them from there.

    Args:
        model: Local functions inlined; not changed.

    Returns:
        The model itself where that is so already.
    """
    _, *nested = all_graphs(model.graph)
    inside = any(is_external(t) for graph in nested for t in graph.initializer)
    if not inside and not any(_data(n) for graph in (model.graph, *nested) for n in graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    main, *nested = all_graphs(result.graph)
    names = _names(result.graph)
    for graph in nested:
        _take_out(graph, main, names)
    kept = [node for node in main.node if not _data(node)]
    main.initializer.extend(_renamed(_value(node), node.output[0]) for node in main.node if _data(node))
    del main.node[:]
    main.node.extend(kept)
    return result


def _data(node: NodeProto) -> bool:
    """Whether a node is a Constant whose numbers lie in a file."""
    constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
    return constant and any(a.name == "value" and is_external(a.t) for a in node.attribute)


def _value(node: NodeProto) -> TensorProto:
    value: TensorProto = next(a.t for a in node.attribute if a.name == "value")
    return value


def _take_out(graph: onnx.GraphProto, main: onnx.GraphProto, names: set[str]) -> None:
    """Moves the data of a nested graph out; an Identity gives it the name that it has inside, where others may hide."""
    inside = {t.name: t for t in graph.initializer if is_external(t)}
    inside |= {node.output[0]: _value(node) for node in graph.node if _data(node)}
    nodes = []
    for name, tensor in inside.items():
        outer = _unique(name, names)
        main.initializer.append(_renamed(tensor, outer))
        nodes.append(onnx.helper.make_node("Identity", [outer], [name]))
    nodes += [node for node in graph.node if not _data(node)]
    weights = [t for t in graph.initializer if t.name not in inside]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def _renamed(tensor: TensorProto, name: str) -> TensorProto:
    renamed = TensorProto()
    renamed.CopyFrom(tensor)
    renamed.name = name
    return renamed


def _names(main: onnx.GraphProto) -> set[str]:
    return {name for graph in all_graphs(main) for name in _named(graph)}


def _named(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (v.name for v in (*graph.input, *graph.output, *graph.initializer))
    yield from (t.values.name for t in graph.sparse_initializer)
    yield from (v for n in graph.node for v in (*n.input, *n.output))


def _unique(hint: str, taken: set[str]) -> str:
    name, number = f"{hint}/data", 1
    while name in taken:
        name, number = f"{hint}/data_{number}", number + 1
    taken.add(name)
    return name
