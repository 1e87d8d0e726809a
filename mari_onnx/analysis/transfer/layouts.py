"""Where the candidates are after a reshape, from the sizes before and after."""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import CandidateAxis, Shape
from mari_onnx.ir.dims import CANDIDATES, Dim, product, quotient, same


def follow_reshape(shape: Shape, axis: CandidateAxis, target: Sequence[Dim], batch: int | None) -> CandidateAxis | None:
    """The candidate axis of a tensor laid out anew.

    In memory the candidates divide the tensor into ``left`` blocks before and ``right`` entries after them. They
    are found again on the one axis of the target where the blocks before it make up a part of ``left``, the entries
    behind it a part of ``right``, and the axis itself has the rest: the axis then is
    ``(left / before) * B * (right / behind)``. No size is compared with B itself, only positions are.

    Args:
        shape: Sizes before.
        axis: The candidate axis before.
        target: Sizes after.
        batch: The number of candidates, where it is fixed.

    Returns:
        The axis, or ``None`` where it cannot be told or is torn apart.
    """
    if any(d == 0 for d in (*shape, *target)) or batch == 1:
        return None
    left = product((*shape[: axis.index], axis.outer))
    right = product((axis.inner, *shape[axis.index + 1 :]))
    for index, size in enumerate(target):
        outer = quotient(left, product(target[:index]))
        inner = quotient(right, product(target[index + 1 :]))
        if outer is None or inner is None:
            continue
        if same(product((outer, CANDIDATES, inner)), size) or (
            batch is not None and same(product((outer, batch, inner)), size)
        ):
            return CandidateAxis(index, outer, inner)
    return None


def resolve_target(shape: Shape, target: Sequence[Dim], allow_zero: bool) -> Shape | None:
    """The sizes that a Reshape target stands for: 0 copies a size, -1 takes what is left.

    Returns:
        ``None`` where the size that is left is not a whole number for sure.
    """
    sizes: list[Dim] = []
    for index, entry in enumerate(target):
        if isinstance(entry, int) and entry == 0 and not allow_zero:
            if index >= len(shape):
                return None
            sizes.append(shape[index])
        else:
            sizes.append(entry)
    if -1 in [s for s in sizes if isinstance(s, int)]:
        hole = next(i for i, s in enumerate(sizes) if isinstance(s, int) and s == -1)
        rest = quotient(product(shape), product(s for i, s in enumerate(sizes) if i != hole))
        if rest is None:
            return None
        sizes[hole] = rest
    return tuple(sizes)


FAR = 10**9
"""The end of a slice from here on means 'to the last entry': no axis is so long, and tf2onnx writes this number."""


def kept_entries(size: int, start: int, end: int, step: int) -> range | None:
    """The entries of an axis that a Slice keeps, by the rules of ONNX, which are not quite those of Python.

    Returns:
        ``None`` where the standard and ONNX Runtime disagree: backwards to an end that is far in front.
    """
    if step == 0 or (step < 0 and end >= FAR):
        return None
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start, end = (v + size if v < 0 else v for v in (start, end))
    return range(min(max(start, 0), high), min(max(end, low), high), step)
