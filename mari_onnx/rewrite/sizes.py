"""Lists of sizes as values of the graph: the number of candidates read from an item input, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
import sympy

from mari_onnx.analysis.inputs import InputSide
from mari_onnx.errors import RuleError
from mari_onnx.ir.dims import CANDIDATES, Dim, free_symbols, may_be_zero, quotient, same, symbol

if TYPE_CHECKING:
    from mari_onnx.rewrite.workspace import Workspace


def without_zeros(shape: Sequence[Dim], before: Sequence[Dim]) -> tuple[Dim, ...]:
    """A shape as operator sets below 14 can ask for it, which have no way to say 0: there, 0 asks for what was before.

    Args:
        shape: What is asked for.
        before: The shape until now.

    Returns:
        The shape with -1 for the one size that could be 0 where the one before is not; as it is where that is not all.
    """
    asks = [i for i, d in enumerate(shape) if may_be_zero(d) and (i >= len(before) or quotient(before[i], d) is None)]
    if len(asks) != 1 or any(may_be_zero(d) for i, d in enumerate(shape) if i not in asks):
        return tuple(shape)
    return tuple(-1 if i in asks else d for i, d in enumerate(shape))


def forgets_batch(left: Sequence[Dim], right: Sequence[Dim]) -> bool:
    """Whether ONNX Runtime may give a product the wrong shape.

    Where nothing is summed up (a history of no steps) it takes the batch axes of the left operand alone.
    """
    if min(len(left), len(right)) < 2 or len(left) < len(right) or not may_be_zero(left[-1]):
        return False
    batch = left[len(left) - len(right) : -2]
    return any(same(one, 1) and not same(other, 1) for one, other in zip(batch, right[:-2], strict=True))


class SizeBuilder:
    """Builds integer vectors with symbolic entries.

    Args:
        workspace: Where the nodes go.
        counted: The item input that is asked for the number of candidates; by default the first one.
    """

    def __init__(self, workspace: Workspace, counted: str | None = None) -> None:
        self._workspace = workspace
        self._sources: dict[Dim, tuple[str, int]] = {}
        graph, inputs = workspace.graph, workspace.inputs
        self.counted = next(iter(inputs.on(InputSide.ITEM)), None) if counted is None else counted
        if self.counted is not None:
            self._sources[CANDIDATES] = (self.counted, inputs.axes[self.counted])
        for name, declared in graph.inputs.items():
            for index, dim in enumerate(declared.type.tensor_type.shape.dim):
                if dim.dim_param and inputs.axes.get(name) != index:
                    self._sources.setdefault(symbol(dim.dim_param), (name, index))

    def can_build(self, dim: Dim) -> bool:
        """Whether a size follows from constants and the sizes of the inputs."""
        return all(s in self._sources or self._is_fixed(s) for s in free_symbols(dim))

    def vector(self, dims: Sequence[Dim], dtype: int = onnx.TensorProto.INT64) -> str | None:
        """A one-dimensional value with these entries, ``None`` where one cannot be computed."""
        if not all(map(self.can_build, dims)):
            return None
        kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        dims = [self._fixed(d) for d in dims]
        if all(isinstance(d, int) for d in dims):
            return self._workspace.weight(np.array(dims, kind), "mari/sizes")
        pieces: list[str] = []
        known: list[int] = []
        for dim in dims:
            if isinstance(dim, int):
                known.append(dim)
                continue
            if known:
                pieces.append(self._workspace.weight(np.array(known, kind), "mari/sizes"))
                known = []
            pieces.append(self._entry(dim, dtype))
        if known:
            pieces.append(self._workspace.weight(np.array(known, kind), "mari/sizes"))
        return self._workspace.emit("Concat", pieces, axis=0) if len(pieces) > 1 else pieces[0]

    def target(self, shape: Sequence[Dim]) -> str:
        """What Reshape needs to make a shape: a constant with -1 where at most one size is symbolic, or -1 already.

        Raises:
            RuleError: A size cannot be computed.
        """
        numbers = [d for d in shape if isinstance(d, int)]
        if min(numbers, default=1) > 0 and len(numbers) >= len(shape) - 1:
            entries = np.array([d if isinstance(d, int) else -1 for d in shape], np.int64)
            return self._workspace.weight(entries, "mari/sizes")
        return self.known(shape)

    def known(self, shape: Sequence[Dim]) -> str:
        """A shape as Expand needs it.

        Raises:
            RuleError: A size cannot be computed.
        """
        vector = self.vector(shape)
        if vector is None:
            raise RuleError(f"the sizes {tuple(shape)} cannot be computed from the inputs of the model")
        return vector

    def along(self, rank: int, index: int) -> str:
        """Ones, with the number of candidates in one place: what Expand and Tile need."""
        whole = self._given(rank, index)
        if whole is not None:
            return whole
        vector = self.vector([CANDIDATES if i == index else 1 for i in range(rank)])
        assert vector is not None
        return vector

    def _given(self, rank: int, index: int) -> str | None:
        """The shape of an item input that is nothing but ones and the number of candidates."""
        workspace = self._workspace
        for name in workspace.inputs.on(InputSide.ITEM):
            dims = workspace.graph.inputs[name].type.tensor_type.shape.dim
            ones = [d.HasField("dim_value") and d.dim_value == 1 for d in dims]
            if len(ones) == rank and workspace.inputs.axes[name] == index and sum(ones) == rank - 1 and not ones[index]:
                return workspace.emit("Shape", [name])
        return None

    def cut(self, value: str, start: int, end: int) -> str:
        """Some entries of a one-dimensional value."""
        if start >= end:
            return value
        bounds = [self._workspace.weight(np.array([b], np.int64), "mari/sizes") for b in (start, end, 0)]
        return self._workspace.emit("Slice", [value, *bounds])

    def _is_fixed(self, dim: Dim) -> bool:
        return bool(dim == CANDIDATES and self._workspace.inputs.batch is not None)

    def _fixed(self, dim: Dim) -> Dim:
        batch = self._workspace.inputs.batch
        if isinstance(dim, int) or batch is None:
            return dim
        value = dim.subs(CANDIDATES, batch)
        return int(value) if value.is_Integer else value

    def _entry(self, dim: Dim, dtype: int) -> str:
        """One size as a vector with one entry."""
        workspace = self._workspace
        if isinstance(dim, int) or dim.is_Integer:
            kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
            return workspace.weight(np.array([int(dim)], kind), "mari/sizes")
        if dim.is_Symbol:
            entry = self._size_of(*self._sources[dim])
            return entry if dtype == onnx.TensorProto.INT64 else workspace.emit("Cast", [entry], to=dtype)
        if dim.is_Pow:
            base, exponent = dim.as_base_exp()
            return self._combined("Mul", [base] * int(exponent), dtype)
        return self._combined("Mul" if isinstance(dim, sympy.Mul) else "Add", list(dim.args), dtype)

    def _size_of(self, name: str, index: int) -> str:
        """One size of an input, as a vector with one entry."""
        workspace = self._workspace
        if len(workspace.graph.inputs[name].type.tensor_type.shape.dim) == 1:
            return workspace.emit("Shape", [name])
        if workspace.opset >= 15:
            return workspace.emit("Shape", [name], start=index, end=index + 1)
        return self.cut(workspace.emit("Shape", [name]), index, index + 1)

    def _combined(self, op: str, parts: Sequence[Dim], dtype: int) -> str:
        total = self._entry(parts[0], dtype)
        for part in parts[1:]:
            total = self._workspace.emit(op, [total, self._entry(part, dtype)])
        return total
