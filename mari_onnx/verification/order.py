"""Which of two models is the original, for those who name them the other way round."""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.errors import UsageError
from mari_onnx.verification.signature import CANDIDATE_AXIS_KEY, Dim, graph_inputs, stacked_inputs
from mari_onnx.verification.source import ModelSource


def check_order(original: ModelSource, optimized: ModelSource) -> None:
    """Refuses what cannot be compared, as the inputs of the two show.

    Raises:
        UsageError: The models are the other way round.
    """
    signs = _signs(original, optimized) if _is_doubtful(original, optimized) else []
    if signs:
        raise UsageError(
            f"the models are the other way round: the first one is a result of optimize, as {signs[0]} shows, and the "
            "second one is not; name the original first"
        )


def doubt(original: ModelSource, optimized: ModelSource) -> str:
    """What to say where two models differ; inputs that keep all their rows show nothing before."""
    if not _is_doubtful(original, optimized):
        return ""
    return "the first model is a result of optimize and the second one is not: the original has to be named first"


def _is_doubtful(original: ModelSource, optimized: ModelSource) -> bool:
    """Whether the first model alone has what optimize notes; another tool may have dropped it from the second."""
    return CANDIDATE_AXIS_KEY in original.metadata and CANDIDATE_AXIS_KEY not in optimized.metadata


def _signs(original: ModelSource, optimized: ModelSource) -> list[str]:
    """Inputs of which the first model has less than the second."""
    ours = {info.name: info.dims for info in graph_inputs(original)}
    theirs = {info.name: info.dims for info in graph_inputs(optimized)}
    split = [e for e in stacked_inputs(original) if e.name in theirs and e.name not in ours]
    return [
        *(f"its input '{name}'" for name, dims in ours.items() if _is_narrower(dims, theirs.get(name, ()))),
        *(f"its input '{part}'" for entry in split for part in (entry.user, entry.item) if part in ours),
    ]


def _is_narrower(dims: Sequence[Dim], others: Sequence[Dim]) -> bool:
    """Whether there is one row where the other model has one for each candidate."""
    return len(dims) == len(others) and any(a == 1 != b for a, b in zip(dims, others, strict=True))
