"""Feeds for a model: valid random inputs, or the caller's samples, with the user's row repeated for each candidate."""

from __future__ import annotations

import enum
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from mari_onnx.errors import UsageError
from mari_onnx.verification.draws import Caution, draw_array
from mari_onnx.verification.ranges import InputRange, derive_ranges
from mari_onnx.verification.signature import (
    InputInfo,
    Inputs,
    UserInput,
    original_inputs,
    parse_user_inputs,
    stated_axes,
)
from mari_onnx.verification.source import Array, ModelLike, ModelSource, open_source
from mari_onnx.verification.zeros import with_noise, with_zeros

OPEN_SIZE = 4  # for symbolic dimensions other than the batch
SHORT_OPEN_SIZES = (1, 2)  # histories shorter than anything that is cut off or counted
MOST_SIZES = 7  # different sizes, counted from the one above
LARGEST = 1 << 30  # bytes of inputs; what is computed of them takes several times as much
WALK_BATCH = 3  # the graph is walked at this batch: 1 would make candidate axes look like broadcast ones


class Lengths(enum.Enum):
    """Which open dimensions, other than the batch, have the same size."""

    EQUAL = "all"
    NAMED = "those of one name"
    FREE = "none"


@dataclass(frozen=True)
class Feeds:
    """Inputs for one run.

    Attributes:
        batch: the number of candidates.
        seed: the seed that they were drawn with.
        full: every input of the original; the user's rows are repeated.
        single: one row of each user input; of a stacked input, its user columns only.
        lengths: which open dimensions have the same size.
        open_size: that size, or the least of them.
        zeros: the share of zeros among the numbers that need not be whole.
    """

    batch: int
    seed: int
    full: Mapping[str, Array]
    single: Mapping[str, Array]
    lengths: Lengths = Lengths.EQUAL
    open_size: int = OPEN_SIZE
    zeros: float = 0.0

    @property
    def place(self) -> str:
        """How reports call a run on them."""
        uneven = {
            Lengths.EQUAL: "",
            Lengths.NAMED: ", with another size for each open dimension",
            Lengths.FREE: ", with another size for each open dimension, also for those of one name",
        }
        short = f", with open dimensions of size {self.open_size}" if self.open_size in SHORT_OPEN_SIZES else ""
        zeros = ", with zeros among the floats" if self.zeros else ""
        return f"batch {self.batch}, seed {self.seed}{uneven[self.lengths]}{short}{zeros}"


@dataclass(frozen=True)
class FeedPlan:
    """All that is needed to draw feeds for one model, so that its graph is walked once.

    Attributes:
        inputs: the inputs of the original.
        user_inputs: those that belong to the user.
        ranges: the derived range of each input that could be followed.
        samples: the caller's own arrays, by input name.
        open_size: size of symbolic dimensions other than the batch.
        one_user_row: the original itself takes one row of the user's inputs and tiles inside.
        lengths: which of those dimensions have the same size.
        zeros: the share of zeros among the numbers that need not be whole.
        noise: how far these numbers are moved, in parts of themselves.
    """

    inputs: Inputs
    user_inputs: tuple[UserInput, ...]
    ranges: Mapping[str, InputRange]
    samples: Mapping[str, Array] = field(default_factory=dict)
    open_size: int = OPEN_SIZE
    one_user_row: bool = False
    lengths: Lengths = Lengths.EQUAL
    zeros: float = 0.0
    noise: float = 0.0

    def draw(self, batch: int, seed: int, caution: Caution = Caution.NORMAL) -> Feeds:
        """Draws feeds.

        Args:
            batch: the number of candidates.
            seed: seeds the generator; each seed and each batch has a user of its own.
            caution: how timid to be.

        Returns:
            The feeds.

        Raises:
            UsageError: as :meth:`check` does.
        """
        self.check(batch)
        full = {info.name: self._array(info, batch, seed, caution) for info in self.inputs.infos}
        single: dict[str, Array] = {}
        for user in self.user_inputs:
            info = self.inputs[user.name]
            row = self._array(info, batch, seed, caution, user_row=True)
            if user.columns is None:
                single[user.name] = row
                full[user.name] = row if self.one_user_row else self._tiled(row, info, batch)
            else:
                columns = list(user.columns)
                single[user.name] = np.ascontiguousarray(np.take(row, columns, axis=user.axis))
                place = (slice(None),) * user.axis + (columns,)
                full[user.name][place] = self._tiled(row, info, batch)[place]
        return Feeds(batch, seed, full, single, self.lengths, self.open_size, self.zeros)

    def check(self, batch: int) -> None:
        """Whether so many candidates can be fed.

        Raises:
            UsageError: the model has a fixed batch of another size, or the inputs take more than `LARGEST` bytes.
        """
        fixed = self.inputs.fixed_batch
        if batch < 1 or (fixed is not None and batch != fixed):
            raise UsageError(f"batch {batch} cannot be fed" + (f": the model has batch {fixed}" if fixed else ""))
        if sum(self._bytes(info, batch) for info in self.inputs.infos) > LARGEST:
            raise UsageError(f"{batch} candidates cannot be fed: their inputs take more than 1 GiB; say fewer")

    @staticmethod
    def _tiled(row: Array, info: InputInfo, batch: int) -> Array:
        return row if info.axis is None else np.repeat(row, batch, axis=info.axis)

    def _bytes(self, info: InputInfo, rows: int) -> int:
        shape = _shape(self.inputs, info, rows, self.open_size, self.lengths)
        return math.prod(shape) * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.dtype)).itemsize

    def _array(self, info: InputInfo, batch: int, seed: int, caution: Caution, user_row: bool = False) -> Array:
        if info.name in self.samples:
            return _sampled(self.samples[info.name], info, 1 if user_row else batch, seed + batch)
        # Named streams: an input's values do not depend on the other inputs.
        rng = np.random.default_rng([seed, batch, zlib.crc32(info.name.encode()), int(user_row)])
        rows = 1 if user_row else batch
        shape = _shape(self.inputs, info, rows, self.open_size, self.lengths)
        known = self.ranges.get(info.name)
        drawn = draw_array(rng, info.dtype, shape, known, info.axis, caution)
        return with_noise(rng, with_zeros(rng, drawn, known, self.zeros), known, self.noise)

    def uneven_samples(self) -> list[str]:
        """The user's inputs whose samples have rows that differ."""
        uneven = []
        for user in self.user_inputs:
            sample, axis = self.samples.get(user.name), self.inputs[user.name].axis
            if sample is None or axis is None:
                continue
            rows = np.moveaxis(sample, axis, 0)
            rows = rows if user.columns is None else np.take(rows, list(user.columns), axis=user.axis)
            if len(rows) and (rows != rows[:1]).any():
                uneven.append(user.name)
        return uneven

    def with_user_inputs(self, user_inputs: Sequence[UserInput]) -> FeedPlan:
        """The same plan with other user inputs."""
        return replace(self, user_inputs=tuple(user_inputs))


def plan_feeds(
    source: ModelSource,
    inputs: Inputs,
    user_inputs: Sequence[UserInput],
    samples: Mapping[str, Array] | None = None,
    open_size: int = OPEN_SIZE,
    lengths: Lengths = Lengths.EQUAL,
) -> FeedPlan:
    """Walks the graph and prepares to draw feeds.

    Args:
        source: the original model.
        inputs: its inputs.
        user_inputs: those that belong to the user.
        samples: the caller's own arrays, by input name; rows along the candidate axis.
        open_size: size of symbolic dimensions other than the batch.
        lengths: which of those have the same size.

    Returns:
        The plan.

    Raises:
        UsageError: a sample does not fit its input.
    """
    checked = {name: _checked_sample(name, array, inputs) for name, array in (samples or {}).items()}
    batch = inputs.fixed_batch or WALK_BATCH
    shapes = {info.name: _shape(inputs, info, batch, open_size, lengths) for info in inputs.infos}
    ranges = derive_ranges(source, shapes, {info.name: inputs.batch_axes(info) for info in inputs.infos})
    return FeedPlan(inputs, tuple(user_inputs), ranges, checked, open_size, lengths=lengths)


def _shape(inputs: Inputs, info: InputInfo, rows: int, open_size: int, lengths: Lengths) -> tuple[int, ...]:
    """A concrete shape: so many rows on the candidate axis, and a size for each open dimension."""
    if lengths is Lengths.EQUAL:
        return info.shape(rows, dict.fromkeys(inputs.batch_symbols, rows), open_size)
    if lengths is Lengths.NAMED:
        sizes = {name: open_size + k % MOST_SIZES for k, name in enumerate(inputs.free_symbols)}
        return info.shape(rows, {**sizes, **dict.fromkeys(inputs.batch_symbols, rows)}, open_size)
    places = [place for place, _ in inputs.open_dims]
    return tuple(
        open_size + places.index((info.name, axis)) % MOST_SIZES if (info.name, axis) in places else size
        for axis, size in enumerate(info.shape(rows, {}, open_size))
    )


def _checked_sample(name: str, sample: Array, inputs: Inputs) -> Array:
    if name not in inputs.names:
        raise UsageError(f"sample '{name}' is not an input; the inputs are: {', '.join(inputs.names)}")
    info = inputs[name]
    try:
        array = np.asarray(sample)
    except ValueError as error:
        raise UsageError(f"sample '{name}' is no array: {error}") from error
    fits = not info.dims or len(info.dims) == array.ndim
    sizes = zip(info.dims, array.shape, strict=False)
    fits &= all(axis == info.axis or not isinstance(dim, int) or dim == size for axis, (dim, size) in enumerate(sizes))
    if not fits or (info.axis is not None and not array.shape[info.axis]):
        wanted = ", ".join("?" if dim is None else str(dim) for dim in info.dims)
        raise UsageError(f"sample '{name}' has shape {list(array.shape)}, the input has [{wanted}]")
    target = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.dtype))
    if array.dtype.kind != target.kind and not (array.dtype.kind in "iu" and target.kind in "fiu"):
        if array.dtype.kind in "OUS" and target.kind in "OUS":
            return array.astype(object)
        raise UsageError(f"sample '{name}' has type {array.dtype}, the input has {target}")
    return array.astype(target)


def _sampled(sample: Array, info: InputInfo, rows: int, first: int) -> Array:
    """Consecutive rows of the sample, going round at the end."""
    if info.axis is None:
        return sample.copy()
    count = sample.shape[info.axis]
    return np.asarray(np.take(sample, (first + np.arange(rows)) % count, axis=info.axis))


def draw_feeds(model: ModelLike, user_inputs: Sequence[str], batch: int, seed: int = 0) -> Feeds:
    """Draws valid random feeds for a model.

    Args:
        model: the original model, or its path.
        user_inputs: specs of the user's inputs, such as ``user_id`` or ``X[:, 0:12,20]``.
        batch: the number of candidates.
        seed: seeds the generator.

    Returns:
        The feeds; `Signature.feeds` makes those of an optimized model from them.

    Raises:
        ModelError: the model cannot be read.
        UsageError: a user input does not exist, or the batch cannot be fed.
    """
    source = open_source(model)
    inputs = original_inputs(source, stated_axes(source))
    return plan_feeds(source, inputs, parse_user_inputs(user_inputs, inputs)).draw(batch, seed)
