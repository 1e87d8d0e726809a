"""What comes of a number that is read in comparisons with constants alone, for each interval between these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.analysis import Analysis
from mari_onnx.ir.dims import alike
from mari_onnx.ir.graph import Graph, Node

Array = np.ndarray

MOST_PASSES = 3
"""All entries of a list count as met, so that few borders are new in a second pass."""
MOST_ENTRIES = 256
"""Longer lists are not read."""


@dataclass(frozen=True)
class Outcomes:
    """The intervals that constants cut numbers into, and what each of some values is in each of them.

    Attributes:
        borders: The constants, in order.
        inner: For the interval in front of each border, and behind the last, whether there are numbers in it.
        steps: By value, what it is at each border, in each interval, and where there is no number.
    """

    borders: Array
    inner: Array
    steps: Mapping[str, Array]

    @property
    def at(self) -> slice:
        """Where the outcomes at the borders are."""
        return slice(0, len(self.borders))

    @property
    def between(self) -> slice:
        """Where those of the intervals are, whether there are numbers in them or not."""
        return slice(len(self.borders), 2 * len(self.borders) + 1)

    @property
    def nowhere(self) -> int:
        """Where that of what is no number is."""
        return -1

    @staticmethod
    def of(number: str, graph: Graph, analysis: Analysis, most: int) -> Outcomes | None:
        """The outcomes of a number; ``None`` where it is compared with more borders than that, or with no number."""
        dtype = onnx.helper.tensor_dtype_to_np_dtype(analysis.facts[number].dtype)
        borders = np.array([], dtype)
        for _ in range(MOST_PASSES):
            samples, inner = _samples(borders)
            run = _Run(number, samples, graph, analysis)
            steps = run.steps()
            new = np.unique(np.array([*borders, *run.met], dtype))
            if np.isnan(new).any() or len(new) > most:
                return None
            if len(new) == len(borders):
                return Outcomes(borders, inner, steps) if len(borders) else None
            borders = new
        return None

    def made_for(self, node: Node, graph: Graph) -> int:
        """How many operators work for what a node makes, of those whose outcomes are known."""
        seen, queue = {node}, [node]
        while queue:
            for value in queue.pop().inputs:
                maker = graph.producer(value) if value in self.steps else None
                if maker is not None and maker not in seen:
                    seen.add(maker)
                    queue.append(maker)
        return len(seen)


def _samples(borders: Array) -> tuple[Array, Array]:
    """Every border, a number of each interval, and what is no number; which intervals have numbers."""
    kind = borders.dtype.type
    if not len(borders):
        return np.array([0, np.nan], borders.dtype), np.array([True])
    with np.errstate(all="ignore"):
        before = np.nextafter(borders, kind(-np.inf))
        behind = np.nextafter(borders[-1:], kind(np.inf))
    between = np.concatenate([before, behind])
    lower = np.concatenate([[kind(-np.inf)], borders])
    inner = np.concatenate([before > lower[:-1], behind > borders[-1:]])
    # Below the lowest border lies minus infinity, too.
    inner[0] = borders[0] > -np.inf
    return np.concatenate([borders, between, [kind(np.nan)]]), inner


class _Run:
    """One run of all that reads a number in comparisons, for many numbers side by side."""

    def __init__(self, number: str, samples: Array, graph: Graph, analysis: Analysis) -> None:
        self._number = number
        self._samples = samples
        self._graph = graph
        self._facts = analysis.facts
        self._known: dict[str, Array] = {}
        self.met: list[object] = []
        """The constants that the number was compared with."""

    def steps(self) -> dict[str, Array]:
        """What is made of the number, by value; of what is the same for all numbers there is one entry."""
        with np.errstate(all="ignore"):
            for node in self._graph.sorted_nodes():
                made = self._made(node) if len(node.outputs) == 1 and not node.domain and not node.captures else None
                if made is not None:
                    self._known[node.output] = made
        return {value: array for value, array in self._known.items() if array.ndim}

    def _made(self, node: Node) -> Array | None:
        if node.op in COMPARISONS and self._number in node.inputs:
            return self._compared(node)
        if node.op in ("Expand", "ConstantOfShape"):
            return self._repeated(node)
        given = [self._of(v) for v in node.inputs[: 1 if node.op in VIEWS else None]]
        if node.op == "Gather":
            return self._looked_up(node, given[1])
        if any(g is None for g in given) or not self._fits(node):
            return None
        arrays = [g for g in given if g is not None]
        if node.op in VIEWS:
            return arrays[0]
        if node.op == "Cast":
            return _converted(arrays[0], int(node.attrs["to"]))
        work = WORK.get(node.op)
        whole = all(a.dtype.kind in "iub" for a in arrays[node.op == "Where" :]) or node.op in (*COMPARISONS, "Where")
        return work(*arrays) if work is not None and whole and not node.attrs.get("fmod", 0) else None

    def _of(self, value: str) -> Array | None:
        """What is known of a value: by interval, or one number that all of its entries are."""
        weight = self._graph.weights.get(value)
        if weight is not None and weight.size == 1:
            return np.array(weight.load()).reshape(())
        return self._known.get(value)

    def _fits(self, node: Node) -> bool:
        """Whether an entry is made of what stands in the same place: what varies is as large as what is made."""
        if node.op in VIEWS:
            return True
        whole = self._facts[node.output].shape
        varying = [v for v in node.inputs if (k := self._of(v)) is not None and k.ndim]
        return not varying or all(alike(self._facts[v].shape, whole) for v in varying)

    def _compared(self, node: Node) -> Array | None:
        left, right = (self._samples if v == self._number else self._of(v) for v in node.inputs)
        shapes = [self._facts[v].shape for v in (self._number, node.output)]
        others = [v for v in node.inputs if v != self._number]
        if left is None or right is None or len(others) != 1 or shapes[0] is None or not alike(*shapes):
            return None
        other = self._of(others[0])
        if other is None or (other.ndim and not alike(self._facts[others[0]].shape, shapes[0])):
            return None
        self.met += [*other.reshape(-1)]
        return np.asarray(WORK[node.op](left, right))

    def _repeated(self, node: Node) -> Array | None:
        if node.op == "Expand":
            entry = self._of(node.inputs[0])
            return entry if entry is not None and not entry.ndim else None
        given = node.attrs.get("value")
        entries = np.zeros(1, np.float32) if given is None else onnx.numpy_helper.to_array(given)
        return np.array(entries.reshape(-1)[0])

    def _looked_up(self, node: Node, index: Array | None) -> Array | None:
        """Entries of a constant list; all of a list of numbers may be met."""
        table = self._graph.weights.get(node.inputs[0])
        if table is None or index is None or len(table.shape) != 1 or table.size > MOST_ENTRIES:
            return None
        entries = np.asarray(table.load())
        if not alike(self._facts[node.output].shape, self._facts[node.inputs[1]].shape):
            return None
        if index.dtype.kind != "i" or not ((index >= -len(entries)) & (index < len(entries))).all():
            return None
        if entries.dtype == self._samples.dtype:
            self.met += [*entries]
        return np.asarray(entries[index])


def _converted(array: Array, to: int) -> Array | None:
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(to))
    return array.astype(kind) if kind.kind in "ib" and array.dtype.kind in "ib" else None


def _quotient(a: Array, b: Array) -> Array | None:
    """Whole numbers are cut off towards 0; the lowest of them has no size."""
    if (b == 0).any() or any((x == np.iinfo(x.dtype).min).any() for x in (a, b) if x.dtype.kind == "i"):
        return None
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def _rest(a: Array, b: Array) -> Array | None:
    return None if (b == 0).any() else np.asarray(np.mod(a, b))


VIEWS = ("Identity", "Squeeze", "Unsqueeze")

COMPARISONS: Mapping[str, Callable[..., Array]] = {
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Equal": np.equal,
}

WORK: Mapping[str, Callable[..., Array | None]] = {
    **COMPARISONS,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _quotient,
    "Mod": _rest,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Not": np.logical_not,
    "Where": np.where,
}
"""What operators make of each entry by itself."""
