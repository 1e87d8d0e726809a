"""The graph that every stage reads and the rewrite engine edits, and its way in and out of ONNX."""

from __future__ import annotations

from mari_onnx.ir.dims import Dim
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.ir.proto import read_graph, write_model

__all__ = ["Dim", "Graph", "Node", "Weight", "read_graph", "write_model"]
