"""Which operators have a transfer function; those without are opaque."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest

from mari_onnx.analysis.contrib import DOMAIN, TYPES
from mari_onnx.analysis.transfer import RANDOM, SIZELESS, SIZING, TRANSFERS

NEWEST = 28
"""The operator set that the table was written for."""

ANSWERED_BY_THE_ANALYSIS = {"Shape", "Size", "Constant"}
"""Operators that the analysis or the normalisation treats itself."""

OPAQUE = set(
    """
    AffineGrid BlackmanWindow CenterCropPad Col2Im ConcatFromSequence DeformConv EyeLike FlexAttention
    HammingWindow HannWindow If ImageDecoder Loop MaxRoiPool MaxUnpool MelWeightMatrix NegativeLogLikelihoodLoss
    NonMaxSuppression NonZero Optional OptionalGetElement OptionalHasElement Resize RoiAlign STFT Scan Scatter ScatterND
    SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap
    SoftmaxCrossEntropyLoss SplitToSequence StringNormalizer StringSplit TfIdfVectorizer Unique Upsample
    """.split()
)
"""Operators without a transfer function: each has to be here, so that a new one is noticed."""


def operators() -> set[str]:
    return {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and s.since_version <= NEWEST}


def test_every_operator_is_in_the_table_or_known_to_be_opaque() -> None:
    assert operators() - set(TRANSFERS) - RANDOM - ANSWERED_BY_THE_ANALYSIS - OPAQUE == set()


def test_nothing_is_said_twice() -> None:
    assert not OPAQUE & set(TRANSFERS)
    assert not RANDOM & set(TRANSFERS)


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < NEWEST, reason="an older onnx does not know all operators")
def test_the_table_has_operators_of_onnx_only() -> None:
    known = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert {kind for kind in TRANSFERS if "." not in kind} - known == set()
    assert RANDOM - known == set()


@pytest.mark.parametrize("op", sorted(SIZING))
def test_operators_whose_size_follows_from_entries_are_not_sizeless(op: str) -> None:
    assert op not in SIZELESS


def test_what_is_no_operator_of_onnx_is_one_of_the_runtime() -> None:
    """ONNX Runtime refuses an operator of its own domain that it does not know."""
    schemas = onnxruntime.capi.onnxruntime_pybind11_state.get_all_operator_schema()
    known = {f"{s.domain}.{s.name}" for s in schemas}
    own = {kind for kind in TRANSFERS if "." in kind}
    assert own
    assert own - known == set()
    assert {kind for kind in own if kind.startswith(DOMAIN)} == {kind for kind in TYPES if kind.startswith(DOMAIN)}
    assert set(TYPES) <= set(TRANSFERS)
