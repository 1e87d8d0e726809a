"""Random ranking models: a builder that tracks sizes, exactness and magnitude of what it makes.

The building blocks are in `blocks.py`. A value is *exact* while it is a small integer in float32: sums of exact
values are the same in any order, so models all of whose outputs are exact have to agree to the last bit. Operators
that jump (comparisons, sorting, rounding) are put on exact values only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

T = TypeVar("T")

VOCABULARY = 7
EXACT_LIMIT = 2.0**18
LIMIT = 1e3
"""Larger values are squashed before they are multiplied, so that tolerances keep their meaning."""

DTYPES = {"float": TensorProto.FLOAT, "int": TensorProto.INT64, "bool": TensorProto.BOOL}


class Size(NamedTuple):
    """The size of an axis: `n`, or `n * B`."""

    n: int
    wide: bool = False

    def at(self, batch: int) -> int:
        return self.n * batch if self.wide else self.n


B = Size(1, True)
ONE = Size(1)


@dataclass(frozen=True)
class Value:
    """A value of the graph.

    Attributes:
        name: Its name.
        shape: Sizes of its axes.
        kind: float, int (below the vocabulary) or bool.
        exact: Whether it holds small integers.
        bound: No entry is larger.
    """

    name: str
    shape: tuple[Size, ...]
    kind: str = "float"
    exact: bool = True
    bound: float = 4.0

    @property
    def rank(self) -> int:
        return len(self.shape)

    def at(self, batch: int) -> tuple[int, ...]:
        return tuple(s.at(batch) for s in self.shape)

    def axes(self, wide: bool) -> list[int]:
        return [k for k, s in enumerate(self.shape) if s.wide == wide]


@dataclass(frozen=True)
class Input:
    """An input of the model."""

    value: Value
    user: bool
    columns: tuple[int, ...] | None = None
    """The user's columns of a stacked input."""

    @property
    def axis(self) -> int:
        return self.value.axes(True)[0]


@dataclass(frozen=True)
class Setting:
    """What a generated model looks like from outside.

    Attributes:
        batch: The number of candidates where it is fixed.
        opset: Version of ai.onnx.
        symbols: `one` name for all batch dimensions, as PyTorch writes, or `own` ones, as TensorFlow does.
        lengths: Other sizes of the inputs: `known`, open by one name for each size (`named`), or open by `own` names.
        names: What names of values look like, given what makes them and their number.
    """

    batch: int | None
    opset: int
    symbols: str
    lengths: str = "known"
    names: str = "{}_{}"


Draw = Callable[[int], int]
"""A number from 0 up to, not including, the given one."""


@dataclass
class Builder:
    """Makes a model node by node."""

    draw: Draw
    setting: Setting
    rng: np.random.Generator
    values: list[Value] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    shared: list[Value] = field(default_factory=list)
    """Weights that several nodes may read."""
    breaks_at_one: bool = False
    """Some node of the original does something else where there is one candidate only (Squeeze without axes)."""
    _count: int = 0

    # -- choices ---------------------------------------------------------------------------------------------------

    def below(self, number: int) -> int:
        return self.draw(number)

    def chance(self, one_in: int = 2) -> bool:
        return self.draw(one_in) == 0

    def pick(self, options: Sequence[T]) -> T:
        return options[self.draw(len(options))]

    def find(self, accept: Callable[[Value], bool]) -> Value | None:
        """One of the values that fit, later ones more often."""
        fitting = [v for v in self.values if accept(v)]
        if not fitting:
            return None
        recent = fitting[-4:]
        return self.pick(recent if self.chance() else fitting)

    def float_value(self, rank: int = 0, exact: bool = False) -> Value | None:
        return self.find(lambda v: v.kind == "float" and v.rank >= rank and (v.exact or not exact))

    # -- parts -----------------------------------------------------------------------------------------------------

    def name(self, hint: str) -> str:
        self._count += 1
        return self.setting.names.format(hint, self._count)

    def constant(self, array: np.ndarray, hint: str = "w") -> str:
        name = self.name(hint)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *entries: int) -> str:
        return self.constant(np.array(entries, np.int64), "c")

    def weight(self, shape: Sequence[Size | int]) -> Value:
        """A constant of small integers, new or read before; varies along the candidates where the batch is fixed."""
        sizes = tuple(s if isinstance(s, Size) else Size(s) for s in shape)
        known = [w for w in self.shared if w.shape == sizes]
        if known and self.chance(4):
            return self.pick(known)
        numbers = self.rng.integers(-2, 3, [s.at(self.setting.batch or 1) for s in sizes])
        made = Value(self.constant(numbers.astype(np.float32)), sizes, bound=2.0)
        self.shared.append(made)
        return made

    def raw(self, op: str, inputs: Sequence[str], outputs: int = 1, **attrs: Any) -> list[str]:
        names = [self.name(op.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attrs))
        return names

    def node(self, op: str, inputs: Sequence[Value | str], like: Value, **attrs: Any) -> Value:
        """A node with one output that is `like` another value but for its name."""
        names = [v if isinstance(v, str) else v.name for v in inputs]
        result = replace(like, name=self.raw(op, names, **attrs)[0])
        if not (result.exact and result.bound <= EXACT_LIMIT):
            result = replace(result, exact=False)
        self.values.append(result)
        return result

    def axes_node(
        self, op: str, value: Value, axes: Sequence[int], like: Value, since: int = 13, **attrs: Any
    ) -> Value:
        """A node whose axes are an input from some operator set on, an attribute before."""
        if self.setting.opset >= since:
            return self.node(op, [value, self.integers(*axes)], like, **attrs)
        return self.node(op, [value], like, axes=list(axes), **attrs)

    def tamed(self, value: Value) -> Value:
        """The value itself, or squashed where it has grown large."""
        if value.bound <= LIMIT:
            return value
        return self.node("Tanh", [value], replace(value, exact=False, bound=1.0))

    # -- sizes -----------------------------------------------------------------------------------------------------

    def batch_size(self) -> str:
        """The number of candidates as a vector with one entry, read from the shape of some value."""
        source = self.find(lambda v: B in v.shape and v.kind != "bool") or self.inputs[0].value
        place = source.shape.index(B)
        shape = self.raw("Shape", [source.name])[0]
        if self.chance():
            return self.raw("Slice", [shape, self.integers(place), self.integers(place + 1), self.integers(0)])[0]
        scalar = self.raw("Gather", [shape, self.constant(np.array(place, np.int64), "c")], axis=0)[0]
        if self.setting.opset >= 13:
            return self.raw("Unsqueeze", [scalar, self.integers(0)])[0]
        return self.raw("Unsqueeze", [scalar], axes=[0])[0]

    def sizes(self, target: Sequence[Size], source: Value | None = None) -> str:
        """A list of sizes as exporters write them.

        Args:
            target: The sizes.
            source: What a Reshape is given: then sizes may also be written as 0 or -1.
        """
        if self.setting.batch is not None and self.chance():
            return self.integers(*(s.at(self.setting.batch) for s in target))
        entries: list[int | None] = [None if s.wide else s.n for s in target]
        wide = [k for k, s in enumerate(target) if s.wide]
        if source is not None:
            for k in wide:
                if k < source.rank and source.shape[k] == target[k] and self.chance():
                    entries[k] = 0
            if entries.count(None) == 1 and self.chance():
                entries[entries.index(None)] = -1
        if None not in entries:
            return self.integers(*(e for e in entries if e is not None))
        parts = [self._size(s) if e is None else self.integers(e) for e, s in zip(entries, target, strict=True)]
        return self.raw("Concat", parts, axis=0)[0] if len(parts) > 1 else parts[0]

    def _size(self, size: Size) -> str:
        batch = self.batch_size()
        return batch if size.n == 1 else self.raw("Mul", [batch, self.integers(size.n)])[0]


@dataclass(frozen=True)
class Generated:
    """A model and what is known of it."""

    model: onnx.ModelProto
    inputs: tuple[Input, ...]
    setting: Setting
    exact: bool
    breaks_at_one: bool

    @property
    def user_inputs(self) -> list[str]:
        """What to type."""
        return [_spec(i) for i in self.inputs if i.user or i.columns]

    def batches(self) -> list[int]:
        if self.setting.batch is not None:
            return [self.setting.batch]
        return [2, 3, 7] if self.breaks_at_one else [1, 2, 3, 7]

    def feeds(self, batch: int, seed: int, user_seed: int = 0) -> dict[str, np.ndarray]:
        """Inputs of the original: one user, so many candidates."""
        items, users = np.random.default_rng([seed, batch]), np.random.default_rng(user_seed)
        return {i.value.name: _drawn(i, batch, items, users) for i in self.inputs}

    def narrowed(self, feeds: dict[str, np.ndarray], model: onnx.ModelProto) -> dict[str, np.ndarray]:
        """The same for the optimized model, whose user inputs have one row."""
        result = {}
        outputs = {o.name for o in model.graph.output}
        for given in self.inputs:
            array = feeds[given.value.name]
            whole = given.value.name in outputs  # what goes straight through keeps all its rows
            if given.columns is not None:
                rest = [c for c in range(array.shape[1]) if c not in given.columns]
                result[f"{given.value.name}_user"] = array[:1, list(given.columns)]
                result[f"{given.value.name}_item"] = array[:, rest]
            else:
                result[given.value.name] = np.take(array, [0], axis=given.axis) if given.user and not whole else array
        return {k: np.ascontiguousarray(v) for k, v in result.items() if k in {i.name for i in model.graph.input}}


def _spec(given: Input) -> str:
    if given.columns is None:
        return given.value.name
    return f"{given.value.name}[:, {','.join(map(str, given.columns))}]"


def _drawn(given: Input, batch: int, items: np.random.Generator, users: np.random.Generator) -> np.ndarray:
    value = given.value
    full = _numbers(value, value.at(batch), items)
    row = _numbers(value, value.at(1), users)
    if given.user:
        return np.ascontiguousarray(np.repeat(row, batch, axis=given.axis))
    if given.columns is not None:
        full[:, list(given.columns)] = row[:, list(given.columns)]
    return full


def _numbers(value: Value, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if value.kind == "int":
        return rng.integers(0, VOCABULARY, shape)
    if value.kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(-4, 5, shape).astype(np.float32)


def add_input(builder: Builder, shape: Sequence[Size], kind: str, user: bool, columns: Sequence[int] = ()) -> None:
    name = f"{'stacked' if columns else 'user' if user else 'item'}{len(builder.inputs)}"
    value = Value(name, tuple(shape), kind, exact=True, bound=VOCABULARY if kind == "int" else 4.0)
    builder.inputs.append(Input(value, user, tuple(columns) or None))
    builder.values.append(value)


def finished(builder: Builder, outputs: Sequence[Value]) -> Generated:
    """The model with the given values as outputs."""
    setting = builder.setting
    # Converters of long ago list weights among the inputs.
    listed = [w for w in builder.weights if not builder.chance(3)] if builder.chance(8) else []
    graph = helper.make_graph(
        builder.nodes,
        "generated",
        [
            *(_declared(i, setting) for i in builder.inputs),
            *(helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in listed),
        ],
        [helper.make_tensor_value_info(v.name, DTYPES[v.kind], [None] * v.rank) for v in outputs],
        builder.weights,
    )
    least = 12 if any(node.op_type in ("Einsum", "GatherND") for node in builder.nodes) else 0
    opset = helper.make_opsetid("", max(setting.opset, least))
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    exact = all(v.exact for v in outputs)
    return Generated(model, tuple(builder.inputs), setting, exact, builder.breaks_at_one)


def _declared(given: Input, setting: Setting) -> onnx.ValueInfoProto:
    value = given.value
    symbol = "batch" if setting.symbols == "one" else f"{value.name}_rows"
    dims = [setting.batch or symbol if s.wide else _length(given, k, setting) for k, s in enumerate(value.shape)]
    return helper.make_tensor_value_info(value.name, DTYPES[value.kind], dims)


def _length(given: Input, axis: int, setting: Setting) -> int | str:
    """A size other than that of the candidates; what runs agrees with it even where it is not said."""
    size = given.value.shape[axis].n
    if setting.lengths == "known" or given.columns is not None:
        return size
    return f"length_{size}" if setting.lengths == "named" else f"{given.value.name}_{axis}"
