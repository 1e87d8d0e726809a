"""Verification: an optimized model against its original, on inputs that are valid for the graph.

`verify` compares two models and returns a `VerifyReport`. `draw_feeds` draws valid inputs for other uses, and
`max_error` measures the difference of two arrays.
"""

from __future__ import annotations

from mari_onnx.verification.compare import Difference, Tolerance, compare_arrays, max_error, ranking_kept
from mari_onnx.verification.feeds import FeedPlan, Feeds, draw_feeds, plan_feeds
from mari_onnx.verification.ranges import InputRange, derive_ranges
from mari_onnx.verification.report import Float64Error, OutputReport, VerifyReport, require
from mari_onnx.verification.sessions import RunError, Session, open_session
from mari_onnx.verification.signature import (
    InputInfo,
    Inputs,
    Signature,
    UserInput,
    match_signatures,
    original_inputs,
    parse_user_inputs,
    stated_axes,
)
from mari_onnx.verification.source import ModelLike, ModelSource, open_source
from mari_onnx.verification.verifier import verify

__all__ = [
    "Difference",
    "FeedPlan",
    "Feeds",
    "Float64Error",
    "InputInfo",
    "InputRange",
    "Inputs",
    "ModelLike",
    "ModelSource",
    "OutputReport",
    "RunError",
    "Session",
    "Signature",
    "Tolerance",
    "UserInput",
    "VerifyReport",
    "compare_arrays",
    "derive_ranges",
    "draw_feeds",
    "match_signatures",
    "max_error",
    "open_session",
    "open_source",
    "original_inputs",
    "parse_user_inputs",
    "plan_feeds",
    "ranking_kept",
    "require",
    "stated_axes",
    "verify",
]
