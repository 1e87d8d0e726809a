"""After the rules: constants folded, nothing dead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from mari_onnx.fused import FUSED_ACTIVATIONS
from mari_onnx.half_products import with_products_before_transposes
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.normalise import fold_constants, rebuilt, without_dead_nodes
from mari_onnx.rewrite.integers import is_of_integers, is_single
from mari_onnx.rewrite.lifting import ONCE


def tidy(graph: Graph) -> Graph:
    """The graph as it is written: outputs made by the nodes that compute them, constants folded, nothing dead."""
    graph = with_sums_before_norms(without_keepers(fold_constants(without_dead_nodes(graph))))
    graph = with_transposes_at_products(with_integers_repeated(with_activations_at_products(graph)))
    graph = with_products_before_transposes(graph)
    return with_unique_node_names(with_known_names(without_dead_nodes(graph)))


def with_known_names(graph: Graph) -> Graph:
    """Gives what is computed once the name that its repetition had, where that is gone."""
    taken = {v for node in graph.nodes for v in (*node.reads, *node.outputs)} | {*graph.inputs, *graph.outputs}
    names: dict[str, str] = {}
    for node in graph.nodes:
        for value in node.outputs:
            known = value.removesuffix(ONCE)
            if known != value and known not in taken and not graph.is_pinned(value):
                names[value] = known
                taken.add(known)
    return rebuilt(graph, [_renamed(node, names) for node in graph.nodes]) if names else graph


def with_unique_node_names(graph: Graph) -> Graph:
    """ONNX Runtime takes two nodes of one name for an error."""
    seen: set[str] = {n.name for n in graph.nodes if n.source is not None and n.source.name}
    nodes = []
    for node in graph.nodes:
        if node.source is None or not node.source.name:
            name, count = node.name or node.op, 1
            while name in seen:
                count += 1
                name = f"{node.name}_{count}"
            seen.add(name)
            node = replace(node, name=name)
        nodes.append(node)
    return rebuilt(graph, nodes)


def without_keepers(graph: Graph) -> Graph:
    """Lets the producer of a value make a graph output directly instead of through an Identity of ours."""
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        if node.op != "Identity" or not node.rule or not graph.is_output(node.output):
            continue
        source = node.inputs[0]
        producer = graph.producer(source)
        if producer is not None and not graph.is_pinned(source) and source not in renamed:
            renamed[source] = node.output
    dropped = {v for k, v in renamed.items()}
    nodes = [
        _renamed(node, renamed)
        for node in graph.nodes
        if not (node.op == "Identity" and node.rule and node.output in dropped)
    ]
    return rebuilt(graph, nodes)


def with_sums_before_norms(graph: Graph) -> Graph:
    """Writes the Add in front of a LayerNormalization as a Sum of two, which ONNX Runtime leaves alone.

    Where it knows their shapes, and after the rules it knows more of them, it fuses the two into
    SkipLayerNormalization, whose CPU kernel takes four to seven times as long as theirs together (release 1.31).
    """
    fused = set()
    for node in graph.nodes:
        added = graph.producer(node.inputs[0]) if node.op == "LayerNormalization" and not node.domain else None
        if added is not None and (added.op, added.domain) == ("Add", ""):
            scale = graph.weights.get(node.inputs[1])
            computed = not any(v in graph.weights for v in added.inputs)
            if computed and scale is not None and scale.dtype == onnx.TensorProto.FLOAT:
                fused.add(added)
    nodes = [replace(n, op="Sum", attrs={}, source=None) if n in fused else n for n in graph.nodes]
    return rebuilt(graph, nodes) if fused else graph


def with_integers_repeated(graph: Graph) -> Graph:
    """Repeats the integers that a value of the user is made of, instead of the value.

    Where all that read it are computed on integers, ONNX Runtime makes kernels of them only behind a DequantizeLinear.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        scaled = graph.producer(node.inputs[0]) if node.op == "Expand" and not node.domain else None
        readers = graph.consumers(node.output) if scaled is not None else ()
        single = scaled is not None and scaled.op == "DequantizeLinear" and is_single(scaled, graph)
        if scaled is None or not single or not readers or not all(is_of_integers(n, graph) for n in readers):
            nodes.append(node)
            continue
        between = graph.unique_name(f"{node.output}/integers")
        nodes.append(replace(node, inputs=(scaled.inputs[0], node.inputs[1]), outputs=(between,)))
        name = graph.unique_name(f"{node.output}/scaled")
        again = replace(scaled, inputs=(between, *scaled.inputs[1:]), outputs=node.outputs, name=name, source=None)
        nodes.append(again)
    return rebuilt(graph, nodes) if len(nodes) > len(graph.nodes) else graph


LAYOUTS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that give the same entries other sizes."""


def with_activations_at_products(graph: Graph) -> Graph:
    """Puts an activation in front of the Reshape that parts it from a Gemm."""
    replaced: dict[Node, Node] = {}
    for node in graph.nodes:
        layout = _only_producer(node, graph) if node.op in FUSED_ACTIVATIONS and not node.domain else None
        if layout is None or layout.op not in LAYOUTS or layout.domain:
            continue
        product = _only_producer(layout, graph)
        if product is not None and (product.op, product.domain) == ("Gemm", ""):
            between = graph.unique_name(f"{node.output}/flat")
            replaced[layout] = replace(node, inputs=(layout.inputs[0],), outputs=(between,))
            replaced[node] = replace(layout, inputs=(between, *layout.inputs[1:]), outputs=node.outputs)
    return rebuilt(graph, [replaced.get(n, n) for n in graph.nodes]) if replaced else graph


def with_transposes_at_products(graph: Graph) -> Graph:
    """Puts a Squeeze that parts the Transpose of a matrix from a MatMul in front of it.

    ONNX Runtime multiplies by a matrix as it lies where its last two axes alone are exchanged right before.
    """
    nodes: list[Node] = []
    weights = dict(graph.weights)
    for node in graph.nodes:
        turned = _turned_for_products(node, graph)
        gone = _gone_in_front(node, turned, graph) if turned is not None else []
        if turned is None or not gone:
            nodes.append(node)
            continue
        between = graph.unique_name(f"{node.output}/squeezed")
        squeezed = replace(node, inputs=turned.inputs, outputs=(between,), attrs={"axes": gone}, source=None)
        if node.has_input(1):
            name = graph.unique_name(f"{node.output}/axes")
            weights[name] = Weight.of(np.array(gone, np.int64))
            squeezed = replace(squeezed, inputs=(*turned.inputs, name), attrs={})
        left = len(turned.attrs["perm"]) - len(gone)
        perm = [*range(left - 2), left - 1, left - 2]
        again = replace(turned, inputs=(between,), outputs=node.outputs, attrs={"perm": perm}, source=None)
        nodes += [squeezed, replace(again, name=graph.unique_name(f"{node.name}/turned"))]
    return rebuilt(graph, nodes, weights) if len(nodes) > len(graph.nodes) else graph


def _turned_for_products(node: Node, graph: Graph) -> Node | None:
    """The Transpose in front of a Squeeze, where nothing but products read either, those of the runtime's own."""
    if node.kind != "Squeeze":
        return None
    turned = graph.producer(node.inputs[0])
    if turned is None or (turned.op, turned.domain) != ("Transpose", "") or "perm" not in turned.attrs:
        return None
    if any(graph.is_pinned(v) for v in (turned.output, node.output)):
        return None
    squeezed = [n for n in graph.consumers(turned.output) if n.op == "Squeeze" and not n.domain]
    others = [n for n in graph.consumers(turned.output) if n not in squeezed]
    products = [*others, *(n for each in squeezed for n in graph.consumers(each.output))]
    return turned if all(n.kind == "MatMul" for n in products) else None


def _gone_in_front(node: Node, turned: Node, graph: Graph) -> list[int]:
    """The axes that a Squeeze drops, as they are before the Transpose, where that exchanges the last two others."""
    named = graph.constant(node.inputs[1]) if node.has_input(1) else node.attrs.get("axes")
    order = [int(axis) for axis in turned.attrs["perm"]]
    gone = {order[axis] for axis in ([] if named is None else map(int, named)) if -len(order) <= axis < len(order)}
    left = [axis for axis in order if axis not in gone]
    exchanged = [*sorted(left)[:-2], *sorted(left)[:-3:-1]]
    return sorted(gone) if len(left) > 1 and left == exchanged else []


def _only_producer(node: Node, graph: Graph) -> Node | None:
    """What makes the first operand of a node, where nothing else reads it."""
    value = node.inputs[0]
    alone = graph.consumers(value) == (node,) and not graph.is_pinned(value) and not graph.is_output(value)
    return graph.producer(value) if alone else None


def _renamed(node: Node, names: dict[str, str]) -> Node:
    if not any(v in names for v in (*node.inputs, *node.outputs)):
        return node
    return replace(
        node,
        inputs=tuple(names.get(v, v) for v in node.inputs),
        outputs=tuple(names.get(v, v) for v in node.outputs),
    )
