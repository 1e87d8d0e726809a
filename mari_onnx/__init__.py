"""mari-onnx: user-side work of ranking models once per request, not once per candidate."""

from __future__ import annotations

from mari_onnx.errors import MariError, ModelError, RuleError, UsageError, VerificationError

__version__ = "0.1.0"

__all__ = ["MariError", "ModelError", "RuleError", "UsageError", "VerificationError", "__version__"]
