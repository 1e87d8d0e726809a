"""The table of transfer functions: what is not in it is opaque."""

from __future__ import annotations

from mari_onnx.analysis.transfer import (
    contrib,
    elementwise,
    learned,
    lookups,
    pieces,
    products,
    recurrent,
    reductions,
    samples,
    shaping,
)
from mari_onnx.analysis.transfer.call import Call, Change, Claim, Lane, Opaque, SetAttribute, SetEntry, SetInput, Table
from mari_onnx.analysis.transfer.shaping import SIZING

TRANSFERS: Table = {
    **elementwise.TABLE,
    **reductions.TABLE,
    **shaping.TABLE,
    **pieces.TABLE,
    **lookups.TABLE,
    **products.TABLE,
    **recurrent.TABLE,
    **samples.TABLE,
    **contrib.TABLE,
    **learned.TABLE,
}
"""Transfer function by operator."""

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that draw other numbers each time, and for each row."""

SIZELESS = frozenset(TRANSFERS.keys() - SIZING.keys()) | {"Shape", "Size"}
"""Operators whose outputs are no larger or smaller for the *entries* of their inputs."""

__all__ = [
    "RANDOM",
    "SIZELESS",
    "SIZING",
    "TRANSFERS",
    "Call",
    "Change",
    "Claim",
    "Lane",
    "Opaque",
    "SetAttribute",
    "SetEntry",
    "SetInput",
]
