"""The command line: ``mari-onnx VERB ...``.

Results go to standard output, progress and messages to standard error. What needs ONNX is imported by the verb that
needs it, so that ``--help`` is instant.
"""

from __future__ import annotations

from mari_onnx.cli.main import main

__all__ = ["main"]
