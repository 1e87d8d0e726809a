"""BatchNormalization of a matrix as what it is where nothing is trained: a factor and a summand for each column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.overflow import within_range
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Affine:
    """``x * factors + summands``, column by column, in float64; ``key`` tells it from others."""

    factors: np.ndarray
    summands: np.ndarray
    key: tuple[object, ...]


def as_affine(node: Node, at: Workspace) -> Affine | None:
    """What a BatchNormalization of a matrix with constant parameters does, unless it is being trained."""
    fact = at.fact(node.inputs[0])
    trained = node.attrs.get("training_mode", 0) or any(node.outputs[1:])
    if node.op != "BatchNormalization" or node.domain or trained or fact.rank != 2 or fact.dtype not in FLOATS:
        return None
    found = [at.constant(v) for v in node.inputs[1:]]
    if any(p is None or p.ndim != 1 for p in found):
        return None
    scale, bias, mean, variance = (p.astype(np.float64) for p in found if p is not None)
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    with np.errstate(all="ignore"):
        factors = scale / np.sqrt(variance + epsilon)
        summands = bias - mean * factors
    known = np.isfinite(factors).all() and np.isfinite(summands).all()
    return Affine(factors, summands, (*node.inputs[1:], epsilon)) if known else None


def columns_of(weight: np.ndarray, node: Node) -> np.ndarray:
    """A weight as it multiplies rows, in float64."""
    return (weight.T if node.attrs.get("transB", 0) else weight).astype(np.float64)


def made(value: str, key: tuple[object, ...], make: Callable[[np.ndarray], np.ndarray], at: Workspace) -> str:
    """What is made of a constant, in its own type."""

    def array() -> np.ndarray:
        given = at.constant(value)
        assert given is not None
        return np.ascontiguousarray(make(given).astype(given.dtype))

    return at.cached_weight((value, *key), array, f"{value}/normalised")


def row_like(row: np.ndarray, value: str, at: Workspace) -> str:
    """A constant row, in the type of another constant."""
    given = at.constant(value)
    assert given is not None
    with within_range():
        typed = np.atleast_2d(row).astype(given.dtype)
    return at.weight(typed, f"{value}/row")
