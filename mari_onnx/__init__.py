"""mari-onnx: user-side work of ranking models once per request, not once per candidate.

>>> import mari_onnx
>>> result = mari_onnx.optimize("in.onnx", user_inputs=["user_*"])

What needs ONNX is imported when it is first used, so that ``import mari_onnx`` costs next to nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mari_onnx.errors import MariError, ModelError, RuleError, UsageError, VerificationError

if TYPE_CHECKING:
    from mari_onnx.analysis import Analysis as Analysis
    from mari_onnx.benchmark.report import BenchReport as BenchReport
    from mari_onnx.benchmark.run import bench as bench
    from mari_onnx.options import Options as Options
    from mari_onnx.pipeline import OptimizeResult as OptimizeResult
    from mari_onnx.pipeline import analyze as analyze
    from mari_onnx.pipeline import optimize as optimize
    from mari_onnx.report import Report as Report
    from mari_onnx.verification import VerifyReport as VerifyReport
    from mari_onnx.verification import verify as verify

__version__ = "0.1.0"

# In a checkout the rules lie beside this package, not inside it: whoever works in its folder imports it from there.
if not (Path(__file__).parent / "patterns").exists() and (Path(__file__).parents[1] / "patterns").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

# No submodule may have one of these names: importing it would put the module where the function should be.
_LAZY = {
    "Analysis": "mari_onnx.analysis",
    "BenchReport": "mari_onnx.benchmark.report",
    "OptimizeResult": "mari_onnx.pipeline",
    "Options": "mari_onnx.options",
    "Report": "mari_onnx.report",
    "VerifyReport": "mari_onnx.verification",
    "analyze": "mari_onnx.pipeline",
    "bench": "mari_onnx.benchmark.run",
    "optimize": "mari_onnx.pipeline",
    "verify": "mari_onnx.verification",
}

__all__ = [
    "Analysis",
    "BenchReport",
    "MariError",
    "ModelError",
    "OptimizeResult",
    "Options",
    "Report",
    "RuleError",
    "UsageError",
    "VerificationError",
    "VerifyReport",
    "__version__",
    "analyze",
    "bench",
    "optimize",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
