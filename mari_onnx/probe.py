"""A second opinion on the analysis: run the model, and look at which values are the same for every candidate.

The analysis proves; this observes. A value proven user-side that is seen to vary is a bug of a transfer function. A
value that nobody could prove anything of, and that is seen to be the same for every candidate, is work that the
optimizer leaves at batch B.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx

from mari_onnx.analysis import Analysis, CandidateAxis, InputSide, Side
from mari_onnx.ir.dims import substitute
from mari_onnx.ir.graph import Node
from mari_onnx.runtime import session

if TYPE_CHECKING:
    from mari_onnx.load import ModelLike

Feeds = Mapping[str, np.ndarray]
Seen = Literal["equal", "varies"]

NOISE = 1e-5
"""Equal rows may come out of a blocked kernel with different roundings; more than that is a difference."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one value.

    Attributes:
        value: Its name.
        node: The node that makes it, as messages call it; empty for an input.
        op: The type of that node.
        side: What the analysis says.
        seen: ``equal``: the same for every candidate, or, of a value without candidate axis, for every draw of items.
        candidates: How many candidates there were.
        elements: Number of entries at that many candidates.
        bytes: Their size in memory; 0 for strings.
    """

    value: str
    node: str
    op: str
    side: Side
    seen: Seen
    candidates: int
    elements: int
    bytes: int

    @property
    def is_bug(self) -> bool:
        """Whether what was seen contradicts what was proven."""
        return self.seen == "varies" and self.side in (Side.USER, Side.SHARED)

    @property
    def is_missed(self) -> bool:
        """Whether nothing was proven of a value that is the same for every candidate."""
        return self.seen == "equal" and self.side in (Side.ITEM, Side.CROSS, Side.OPAQUE)


def probe(model: ModelLike, analysis: Analysis, feeds: Sequence[Feeds]) -> list[Finding]:
    """Runs a model with every value as an output, and compares the candidates' slices of each.

    Args:
        model: A path, or a model; never changed. The original will do: values that the analysis does not know by
            name are left out.
        analysis: What was proven, as :func:`mari_onnx.analyze` returns it.
        feeds: Full inputs of the model, user rows repeated, for one user and as many candidates in each. Two draws
            with other items tell more than one: a value without candidate axis can only be seen to vary between two.

    Returns:
        One finding for each value with a candidate axis, and for each without one where there are several draws, in
        the order they are made. Values that opaque nodes make are found by trying every axis.

    Raises:
        MariError: The model cannot be read, or ONNX Runtime is missing.
    """
    from mari_onnx.load import load_model

    loaded = load_model(model)
    exposed = _exposed(loaded.model, analysis)
    run = session(exposed, threads=1, optimized=False, folder=loaded.folder)
    names = [o.name for o in run.get_outputs() if o.type.startswith("tensor")]
    draws = [dict(zip(names, run.run(names, dict(f)), strict=True)) for f in feeds]
    counts = [_count(analysis, f) for f in feeds]
    makers = {v: n for n in analysis.network if isinstance(n, Node) for v in n.outputs if v}
    findings = (_finding(name, analysis, makers.get(name), draws, counts) for name in analysis.facts if name in names)
    return [f for f in findings if f is not None]


def equal_along(array: np.ndarray, axis: CandidateAxis, candidates: int) -> bool:
    """Whether all slices along a candidate axis are the same, but for rounding.

    The sizes in ``axis`` are numbers here; an axis that does not have ``outer * candidates * inner`` entries has
    no such slices, and is not equal along it.
    """
    if axis.index >= array.ndim or array.shape[axis.index] != axis.outer * candidates * axis.inner:
        return False
    k = axis.index
    apart = array.reshape((*array.shape[:k], axis.outer, candidates, axis.inner, *array.shape[k + 1 :]))
    return alike(apart, np.take(apart, [0], axis=k + 1))


def alike(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays that broadcast are the same, but for rounding relative to their scale."""
    if left.dtype.kind not in "fc":
        return bool(np.all(left == right))
    with np.errstate(all="ignore"):
        finite = np.abs(left[np.isfinite(left)])
        scale = float(finite.max()) if finite.size else 0.0
        return bool(np.allclose(left, right, rtol=NOISE, atol=NOISE * scale, equal_nan=True))


def _exposed(model: onnx.ModelProto, analysis: Analysis) -> onnx.ModelProto:
    """The model with every value the analysis knows as an output."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    known = {o.name for o in result.graph.output}
    for node in model.graph.node:
        for value in node.output:
            if value and value in analysis.facts and value not in known:
                known.add(value)
                result.graph.output.append(onnx.ValueInfoProto(name=value))
    return result


def _count(analysis: Analysis, feeds: Feeds) -> int:
    """The number of candidates in a feed; a stacked input, which the analysis knows in two parts, has it in front."""
    for side in (InputSide.ITEM, InputSide.USER):
        for name in analysis.inputs.on(side):
            if name in feeds:
                return int(feeds[name].shape[analysis.inputs.axes[name]])
    stacked = [name for name, array in feeds.items() if name not in analysis.inputs.sides and array.ndim]
    return int(feeds[stacked[0]].shape[0]) if stacked else 1


def _finding(
    name: str,
    analysis: Analysis,
    node: Node | None,
    draws: Sequence[Mapping[str, np.ndarray]],
    counts: Sequence[int],
) -> Finding | None:
    fact, arrays = analysis.facts[name], [d[name] for d in draws]
    side = fact.side
    if side is Side.SHARED:
        equal = _same_in_all(arrays) if not fact.sized else None
    elif fact.axis is not None:
        equal = all(_equal_on(a, fact.axis, n) for a, n in zip(arrays, counts, strict=True))
    else:
        equal = _equal_somewhere(arrays, counts)
    if equal is None:
        return None
    first = arrays[0]
    return Finding(
        name,
        node.where() if node is not None else "",
        node.op if node is not None else "",
        side,
        "equal" if equal else "varies",
        counts[0],
        int(first.size),
        0 if first.dtype == object else int(first.nbytes),
    )


def _same_in_all(arrays: Sequence[np.ndarray]) -> bool | None:
    """Whether a value is the same whatever the items are; ``None`` with one draw, which says nothing."""
    if len(arrays) < 2:
        return None
    return all(a.shape == arrays[0].shape and alike(a, arrays[0]) for a in arrays[1:])


def _equal_on(array: np.ndarray, axis: CandidateAxis, candidates: int) -> bool:
    """Like :func:`equal_along`, on every split of the axis that its symbolic sizes allow."""
    size = array.shape[axis.index] if axis.index < array.ndim else -1
    outer, inner = substitute(axis.outer, candidates), substitute(axis.inner, candidates)
    splits = _splits(size, candidates)
    return any(
        equal_along(array, CandidateAxis(axis.index, o, i), candidates)
        for o, i in splits
        if (not isinstance(outer, int) or o == outer) and (not isinstance(inner, int) or i == inner)
    )


def _equal_somewhere(arrays: Sequence[np.ndarray], counts: Sequence[int]) -> bool | None:
    """Whether a value of which nothing is known is equal along some axis; ``None`` where no axis can be it."""
    axes = range(max(a.ndim for a in arrays))
    tried = [
        [CandidateAxis(k, o, i) for o, i in _splits(a.shape[k] if k < a.ndim else -1, n)]
        for k in axes
        for a, n in zip(arrays, counts, strict=True)
    ]
    if not any(tried) or any(a.ndim != arrays[0].ndim for a in arrays):
        return None
    rows = len(arrays)
    return any(
        all(any(equal_along(arrays[r], axis, counts[r]) for axis in tried[k * rows + r]) for r in range(rows))
        for k in axes
    )


def _splits(size: int, candidates: int) -> Iterator[tuple[int, int]]:
    """How an axis can be outer x candidates x inner."""
    if size > 0 and candidates > 0 and size % candidates == 0:
        rest = size // candidates
        yield from ((o, rest // o) for o in range(1, rest + 1) if rest % o == 0)
