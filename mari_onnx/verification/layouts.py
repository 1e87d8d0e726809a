"""Where the candidates are in an output: not always in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mari_onnx.verification.source import Array

BATCHES = (3, 5)
"""Numbers of candidates by which their axis is told from others."""


def candidate_axes(run: Callable[[int], Mapping[str, Array]], fixed: int | None) -> dict[str, int]:
    """The axis of the candidates in each output that has one.

    Args:
        run: makes the outputs by name for so many candidates, or nothing.
        fixed: the number of candidates, where the model takes no other.

    Returns:
        The first axis with as many entries as there are candidates, or else several for each.
    """
    runs = {batch: run(batch) for batch in (BATCHES if fixed is None else (fixed,))}
    names = set.intersection(*(set(outputs) for outputs in runs.values()))
    found = {name: _axis({batch: outputs[name].shape for batch, outputs in runs.items()}) for name in names}
    return {name: axis for name, axis in found.items() if axis is not None}


def _axis(shapes: Mapping[int, tuple[int, ...]]) -> int | None:
    rank = min(map(len, shapes.values()))
    if any(len(shape) > rank for shape in shapes.values()):
        return None
    each = [{shape[axis] / batch for batch, shape in shapes.items()} for axis in range(rank)]
    along = [axis for axis, entries in enumerate(each) if len(entries) == 1 and min(entries) >= 1]
    return min(along, key=lambda axis: (each[axis] != {1}, axis), default=None)
