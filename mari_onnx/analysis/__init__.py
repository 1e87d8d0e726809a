"""Which values are the same for every candidate, and where the candidates lie in the others."""

from __future__ import annotations

from mari_onnx.analysis.analyze import Analysis, analyze_graph
from mari_onnx.analysis.facts import CandidateAxis, Fact, Side
from mari_onnx.analysis.inputs import Inputs, InputSide

__all__ = ["Analysis", "CandidateAxis", "Fact", "InputSide", "Inputs", "Side", "analyze_graph"]
