"""The inputs of a model, which of them belong to the user, and how two models' inputs correspond."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from mari_onnx.columns import matching, parse_specs
from mari_onnx.errors import ModelError, UsageError
from mari_onnx.verification.source import Array, ModelSource

USER_INPUTS_KEY = "mari.user_inputs"
STACKED_INPUTS_KEY = "mari.stacked_inputs"
CANDIDATE_AXIS_KEY = "mari.candidate_axis"

Dim = int | str | None  # a fixed size, a symbol, or nothing stated


@dataclass(frozen=True)
class InputInfo:
    """One graph input.

    Attributes:
        name: its name.
        dtype: the ONNX element type.
        dims: the declared dimensions; empty for a scalar and for an input without a shape.
        axis: the candidate axis, None when the input has none.
    """

    name: str
    dtype: int
    dims: tuple[Dim, ...]
    axis: int | None = None

    def shape(self, batch: int, sizes: Mapping[str, int], default: int) -> tuple[int, ...]:
        """A concrete shape: `batch` on the candidate axis, symbols by `sizes`, anything else open by `default`."""
        return tuple(
            batch if axis == self.axis else dim if isinstance(dim, int) else sizes.get(dim or "", default)
            for axis, dim in enumerate(self.dims)
        )


@dataclass(frozen=True)
class UserInput:
    """An input that belongs to the user, or some columns of one (on `axis`)."""

    name: str
    columns: tuple[int, ...] | None = None
    axis: int = 1


@dataclass(frozen=True)
class StackedInput:
    """An input of the original that became two, one for the user's columns and one for the items'."""

    name: str
    user: str
    item: str
    user_columns: tuple[int, ...]
    item_columns: tuple[int, ...]


def graph_inputs(source: ModelSource) -> tuple[InputInfo, ...]:
    """The inputs that a caller must feed, without initializers that merely have a default."""
    weights = {tensor.name for tensor in source.proto.graph.initializer}
    return tuple(_info(info, source) for info in source.proto.graph.input if info.name not in weights)


def _info(info: onnx.ValueInfoProto, source: ModelSource) -> InputInfo:
    if not info.type.HasField("tensor_type"):
        raise ModelError(f"{source.role}: input '{info.name}' is not a tensor, which verification cannot feed")
    tensor = info.type.tensor_type
    # ONNX Runtime takes a size below 0 for an open one.
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
        for dim in tensor.shape.dim
    )
    return InputInfo(info.name, tensor.elem_type, dims)


@dataclass(frozen=True)
class Inputs:
    """The inputs of the original with their candidate axes.

    Attributes:
        infos: the inputs in order.
        fixed_batch: the batch of a model exported with a fixed one, else None.
        batch_symbols: the symbols that stand for the batch.
    """

    infos: tuple[InputInfo, ...]
    fixed_batch: int | None
    batch_symbols: frozenset[str]

    def __getitem__(self, name: str) -> InputInfo:
        return next(info for info in self.infos if info.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The input names in order."""
        return tuple(info.name for info in self.infos)

    def batch_axes(self, info: InputInfo) -> tuple[int, ...]:
        """The axes of an input that are as long as there are candidates: a name may be given to several."""
        return tuple(k for k, dim in enumerate(info.dims) if k == info.axis or dim in self.batch_symbols)

    @property
    def open_dims(self) -> tuple[tuple[tuple[str, int], str], ...]:
        """Input, axis and symbol of each open dimension but the candidate axes; an unnamed one is `?`."""
        return tuple(
            ((info.name, axis), dim or "?")
            for info in self.infos
            for axis, dim in enumerate(info.dims)
            if axis != info.axis and not isinstance(dim, int)
        )

    @property
    def free_symbols(self) -> tuple[str, ...]:
        """Symbols other than the batch, in order of appearance."""
        return tuple(dict.fromkeys(s for _, s in self.open_dims if s not in self.batch_symbols))


def original_inputs(source: ModelSource, stated: Mapping[str, int | None]) -> Inputs:
    """Finds the candidate axis of each input.

    Args:
        source: the original model.
        stated: the axes that metadata names, ``None`` for none; 0 for an input that it does not mention.

    Returns:
        The inputs. One with a fixed size on that axis has a candidate axis only in a model whose batch is fixed.
    """
    infos = graph_inputs(source)
    dims: dict[str, Dim] = {}
    for info in infos:
        axis = stated.get(info.name, 0)
        if axis is not None and -len(info.dims) <= axis < len(info.dims):
            dims[info.name] = info.dims[axis]
    fixed = None
    if dims and all(isinstance(dim, int) for dim in dims.values()):
        wide = Counter(dim for dim in dims.values() if isinstance(dim, int) and dim > 1)
        fixed = wide.most_common(1)[0][0] if wide else 1
    placed = []
    for info in infos:
        dim = dims.get(info.name, 1)
        has_axis = info.name in dims and (dim == fixed if isinstance(dim, int) else True)
        place = (stated.get(info.name) or 0) % len(info.dims) if has_axis else None
        placed.append(InputInfo(info.name, info.dtype, info.dims, place))
    symbols = frozenset(dim for dim in dims.values() if isinstance(dim, str))
    return Inputs(tuple(placed), fixed, symbols)


def _json(source: ModelSource, key: str) -> Any:
    text = source.metadata.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"{source.role}: metadata '{key}' is not valid JSON") from None


def stated_axes(*sources: ModelSource) -> dict[str, int | None]:
    """The candidate axes that metadata states, ``None`` where there is none; the first model that does so counts."""
    for source in sources:
        axes = _json(source, CANDIDATE_AXIS_KEY)
        if isinstance(axes, dict):
            if not all(axis is None or isinstance(axis, int) for axis in axes.values()):
                raise ModelError(f"{source.role}: metadata '{CANDIDATE_AXIS_KEY}' is not understood")
            return axes
    return {}


def stacked_inputs(source: ModelSource) -> tuple[StackedInput, ...]:
    """The inputs that the optimizer split by columns, from its metadata."""
    found = _json(source, STACKED_INPUTS_KEY) or {}
    try:
        entries = [
            StackedInput(name, entry["user"], entry["item"], tuple(entry["user_columns"]), tuple(entry["item_columns"]))
            for name, entry in found.items()
        ]
    except (KeyError, TypeError, AttributeError):
        entries = None
    if entries is None or not all(map(_is_understood, entries)):
        raise ModelError(f"{source.role}: metadata '{STACKED_INPUTS_KEY}' is not understood")
    return tuple(entries)


def _is_understood(entry: StackedInput) -> bool:
    names, columns = (entry.user, entry.item), (*entry.user_columns, *entry.item_columns)
    return all(isinstance(name, str) for name in names) and all(isinstance(column, int) for column in columns)


def parse_user_inputs(specs: Sequence[str], inputs: Inputs) -> tuple[UserInput, ...]:
    """Reads specs such as ``user_id`` and ``X[:, 0:12,20]``.

    Args:
        specs: input names, globs, or columns of an input as numpy-like half-open slices.
        inputs: the inputs of the original.

    Returns:
        The user's inputs.

    Raises:
        UsageError: a spec names no input or cannot be read.
    """
    found = [one for spec in parse_specs(specs, inputs.names) for one in _parse(spec.text, inputs)]
    return tuple(dict.fromkeys(found))


def _parse(text: str, inputs: Inputs) -> list[UserInput]:
    match = None if text in inputs.names else re.fullmatch(r"(?P<name>.+?)\s*\[(?P<index>[-\d:,\s]*)\]", text.strip())
    pattern = text if text in inputs.names else match["name"] if match else text.strip()
    names = matching(pattern, inputs.names)
    if not names:
        raise UsageError(f"'{pattern}' is not an input; the inputs are: {', '.join(inputs.names)}")
    return [UserInput(name) if match is None else _columns_of(name, match, inputs) for name in names]


def _columns_of(name: str, match: re.Match[str], inputs: Inputs) -> UserInput:
    spec = match[0]
    parts = [part.strip() for part in match["index"].split(",") if part.strip()]
    axis = 0
    while axis < len(parts) - 1 and parts[axis] == ":":
        axis += 1
    dims = inputs[name].dims
    width = dims[axis] if axis < len(dims) else None
    if not axis or not isinstance(width, int):
        raise UsageError(f"'{spec}': columns are written like {name}[:, 0:12,20], and their number must be fixed")
    try:
        columns = tuple(dict.fromkeys(column for part in parts[axis:] for column in _columns(part, width)))
    except (TypeError, ValueError):
        raise UsageError(f"'{spec}': columns must be numbers or slices below {width}") from None
    if not columns:
        raise UsageError(f"'{spec}': it names no column")
    return UserInput(name, columns, axis)


def _columns(part: str, width: int) -> Sequence[int]:
    if ":" not in part:
        column = int(part)
        if not -width <= column < width:
            raise ValueError(part)
        return (column % width,)
    return range(width)[slice(*(int(end) if end.strip() else None for end in part.split(":")))]


@dataclass(frozen=True)
class Signature:
    """How the inputs of an optimized model are made from the feeds of the original.

    Attributes:
        user_inputs: the user's inputs.
        single: names that take one row in the optimized model.
        stacked: inputs that became two.
        expected: the inputs of the optimized model.
        problem: why the optimized model cannot be fed, None when it can.
        given_once: the original, too, takes one row of the user's inputs, for these have rows of their own.
    """

    user_inputs: tuple[UserInput, ...]
    single: tuple[str, ...]
    stacked: tuple[StackedInput, ...]
    expected: tuple[str, ...]
    problem: str | None = None
    given_once: bool = False

    def feeds(self, full: Mapping[str, Array], single: Mapping[str, Array]) -> dict[str, Array]:
        """The feeds of the optimized model.

        Args:
            full: what the original is fed with.
            single: one row of each user input; of a stacked input, its user columns.

        Returns:
            An array for each input of the optimized model.
        """
        made = {name: single[name] if name in self.single else array for name, array in full.items()}
        for entry in self.stacked:
            made[entry.user] = np.ascontiguousarray(np.take(full[entry.name][:1], entry.user_columns, axis=1))
            made[entry.item] = np.ascontiguousarray(np.take(full[entry.name], entry.item_columns, axis=1))
        return {name: made[name] for name in self.expected}


def match_signatures(original: Inputs, optimized: ModelSource, user_inputs: Sequence[str] | None = None) -> Signature:
    """Finds how the optimized model's inputs correspond to the original's.

    Args:
        original: the inputs of the original.
        optimized: the optimized model.
        user_inputs: specs of the user's inputs; None to read them from the optimized model.

    Returns:
        The correspondence; its `problem` says what is in the way, if anything.
    """
    theirs = {info.name: info for info in graph_inputs(optimized)}
    if user_inputs is None:
        user_inputs = _json(optimized, USER_INPUTS_KEY)
    if user_inputs is None:
        user = tuple(UserInput(info.name) for info in original.infos if _takes_one_row(info, theirs))
    else:
        user = parse_user_inputs(user_inputs, original)
    split = [entry for entry in stacked_inputs(optimized) if entry.name in original.names]
    user += tuple(
        UserInput(entry.name, entry.user_columns) for entry in split if entry.name not in {one.name for one in user}
    )
    whole = tuple(entry.name for entry in user if entry.columns is None)
    single = tuple(name for name in whole if _takes_one_row(original[name], theirs))
    stacked = tuple(entry for entry in _stacked(user, original, split) if {entry.user, entry.item} & set(theirs))
    made = {*original.names, *(entry.user for entry in stacked), *(entry.item for entry in stacked)}
    unknown = [name for name in theirs if name not in made]
    problem = f"the optimized model has an input that the original lacks: '{unknown[0]}'" if unknown else None
    misfits = filter(None, (_misfit(entry, original[entry.name]) for entry in stacked))
    problem = problem or next(misfits, None)
    return Signature(user, single, stacked, tuple(theirs), problem, _given_once(original, optimized, user))


def _misfit(entry: StackedInput, info: InputInfo) -> str:
    """What to say where the columns of an input that became two are not those that it has; empty otherwise."""
    width = info.dims[1] if len(info.dims) > 1 else None
    columns = sorted((*entry.user_columns, *entry.item_columns))
    if isinstance(width, int) and columns == list(range(width)):
        return ""
    count = len(columns)
    return f"the optimized model was made for {count} columns of '{entry.name}', the original has {width or 'none'}"


def _given_once(original: Inputs, optimized: ModelSource, user: Sequence[UserInput]) -> bool:
    """Whether the optimized model's metadata names no candidate axis for any of the user's inputs."""
    axes = _json(optimized, CANDIDATE_AXIS_KEY)
    whole = [entry.name for entry in user if entry.columns is None and original[entry.name].axis is not None]
    return isinstance(axes, dict) and 0 < len(whole) == len(user) and not set(whole) & set(axes)


def _takes_one_row(info: InputInfo, theirs: Mapping[str, InputInfo]) -> bool:
    """Whether the optimized model has a fixed 1 where the original has its candidates."""
    if info.name not in theirs or info.axis is None:
        return False
    dims = theirs[info.name].dims
    return not dims or (info.axis < len(dims) and dims[info.axis] == 1 and info.dims[info.axis] != 1)


def _stacked(user: Sequence[UserInput], original: Inputs, split: Sequence[StackedInput]) -> list[StackedInput]:
    """Splits by metadata; without it, by the optimizer's naming."""
    stated = {entry.name: entry for entry in split}
    for entry in user:
        if entry.columns is not None and entry.name not in stated and entry.axis == 1:
            width = original[entry.name].dims[1]
            assert isinstance(width, int)
            rest = tuple(column for column in range(width) if column not in entry.columns)
            stated[entry.name] = StackedInput(
                entry.name, f"{entry.name}_user", f"{entry.name}_item", entry.columns, rest
            )
    return list(stated.values())
