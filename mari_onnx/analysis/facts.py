"""What is known of a value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import onnx

from mari_onnx.errors import UsageError
from mari_onnx.ir.dims import CANDIDATES, Dim, is_underived, mentions_candidates, product, same

Shape = tuple[Dim, ...]


class Side(Enum):
    """Which inputs of the request a value comes from."""

    SHARED = "shared"
    """No candidate axis: weights, constants, sizes, features of the request given once."""
    USER = "user"
    """Has a candidate axis, and is the same for every candidate."""
    ITEM = "item"
    """Differs between candidates and comes from item inputs alone."""
    CROSS = "cross"
    """Differs between candidates and depends on the user as well."""
    OPAQUE = "opaque"
    """Nothing is proven."""

    @classmethod
    def _missing_(cls, value: object) -> Side:
        raise UsageError(f"there is no side {value!r}: the sides are {', '.join(side.value for side in cls)}")


@dataclass(frozen=True, slots=True)
class CandidateAxis:
    """Where the candidates lie: axis ``index`` has ``outer * B * inner`` entries, candidates in the middle.

    Attributes:
        index: The axis, from the front.
        outer: How many blocks there are that have all candidates.
        inner: How many entries each candidate has in a block.
        alike: Whether all entries along the axis are the same, so that the same is true of any blocks.
    """

    index: int
    outer: Dim = 1
    inner: Dim = 1
    alike: bool = field(default=False, compare=False)

    @property
    def is_whole(self) -> bool:
        """Whether the axis holds the candidates and nothing else."""
        return bool(self.outer == 1 and self.inner == 1)

    @property
    def single(self) -> Dim:
        """Size of the axis for one candidate."""
        return product((self.outer, self.inner))

    @property
    def size(self) -> Dim:
        return product((self.outer, CANDIDATES, self.inner))

    @property
    def in_blocks(self) -> CandidateAxis:
        """The same with as many blocks as may be said."""
        return replace(self, outer=self.single, inner=1) if self.alike else self

    @property
    def by_candidate(self) -> CandidateAxis:
        """The same with as few blocks as may be said."""
        return replace(self, outer=1, inner=self.single) if self.alike else self

    def at(self, index: int) -> CandidateAxis:
        return replace(self, index=index)

    def common(self, other: CandidateAxis) -> CandidateAxis | None:
        """Where the candidates lie of what is made of two values entry by entry, if they do not lie apart."""
        if self == other:
            return replace(self, alike=self.alike and other.alike)
        if self.index != other.index or not same(self.single, other.single):
            return None
        return other if self.alike else self if other.alike else None


@dataclass(frozen=True, slots=True)
class Content:
    """The entries of a small integer tensor, as far as they are known: sizes, axes, offsets.

    Attributes:
        shape: Sizes of the tensor's axes.
        items: Entries in row-major order; an entry may be symbolic.
        layout: How the candidates lie on an axis of the value whose sizes these are, or were computed from.
    """

    shape: tuple[int, ...]
    items: tuple[Dim, ...]
    layout: CandidateAxis | None = field(default=None, compare=False)

    @staticmethod
    def of(array: np.ndarray) -> Content:
        return Content(array.shape, tuple(array.ravel().tolist()))

    def array(self) -> np.ndarray:
        result = np.empty(len(self.items), dtype=object)
        result[:] = self.items
        return result.reshape(self.shape)

    def integers(self) -> tuple[int, ...] | None:
        """The entries, if all are plain integers."""
        return self.items if all(isinstance(i, int) for i in self.items) else None

    @property
    def depends_on_candidates(self) -> bool:
        return any(mentions_candidates(i) or is_underived(i) for i in self.items)


@dataclass(frozen=True, slots=True)
class Fact:
    """What is proven of one value.

    Attributes:
        dtype: Element type as in ``onnx.TensorProto``, 0 where unknown or not a tensor.
        shape: Sizes of the axes at B candidates, ``None`` where the rank is unknown.
        axis: Where the candidates lie; ``None`` for a value without candidate axis or an opaque one.
        varies: Whether the slices along the candidate axis may differ.
        request: Whether the value depends on a user input.
        item: Whether the value depends on an item input.
        sized: Whether the value depends on how many candidates there are, though it has no candidate axis.
        content: Entries of a small integer value.
        opaque: Why nothing is proven; empty where something is.
    """

    dtype: int = 0
    shape: Shape | None = None
    axis: CandidateAxis | None = None
    varies: bool = False
    request: bool = False
    item: bool = False
    sized: bool = False
    content: Content | None = None
    opaque: str = ""

    @property
    def side(self) -> Side:
        if self.opaque:
            return Side.OPAQUE
        if self.axis is None:
            return Side.SHARED
        if not self.varies:
            return Side.USER
        return Side.CROSS if self.request else Side.ITEM

    @property
    def is_user(self) -> bool:
        return self.side is Side.USER

    @property
    def is_constant(self) -> bool:
        """Whether the value is made of weights alone."""
        return self.side is Side.SHARED and not (self.request or self.item or self.sized)

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def integers(self) -> tuple[int, ...] | None:
        """The entries, where all are known numbers."""
        return self.content.integers() if self.content is not None else None

    @property
    def entry(self) -> Dim | None:
        """The one entry of a value that has one, where it is known; it may be symbolic."""
        return self.content.items[0] if self.content is not None and len(self.content.items) == 1 else None

    @property
    def numbers(self) -> np.ndarray | None:
        """The entries as an array of their type, where all are known numbers."""
        if self.content is None or self.integers is None or not self.dtype:
            return None
        return self.content.array().astype(onnx.helper.tensor_dtype_to_np_dtype(self.dtype))

    @property
    def single_shape(self) -> Shape | None:
        """Sizes of the axes for one candidate."""
        if self.shape is None or self.axis is None:
            return self.shape
        k = self.axis.index
        return (*self.shape[:k], self.axis.single, *self.shape[k + 1 :])
