"""The exceptions of mari-onnx.

::

    MariError                 everything a caller may want to catch
    +-- UsageError            the request makes no sense for this model (exit status 2)
    +-- ModelError            the file or the model cannot be used (exit status 2)
    +-- VerificationError     the result differs from the original (exit status 1)
    +-- RuleError             a rewrite rule broke its contract (a bug in that rule)
"""

from __future__ import annotations


class MariError(Exception):
    """Base class: one sentence for the user, no traceback needed."""

    exit_status = 2


class UsageError(MariError):
    """The options do not fit the model: unknown input, nothing user-side, output equal to input, ..."""


class ModelError(MariError):
    """The model or its files cannot be read, written, checked or run."""


class VerificationError(MariError):
    """Original and optimized model disagree, or the comparison could not be made."""

    exit_status = 1


class RuleError(MariError):
    """A rewrite rule produced something that is not a valid replacement."""

    exit_status = 1
