"""On which axis of each input the candidates lie, as far as shapes tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeAlias

import onnx

from mari_onnx.analysis.inputs import InputSide
from mari_onnx.analysis.rows import MANY, SEVERAL, can_run
from mari_onnx.errors import UsageError
from mari_onnx.ir.graph import Graph

Dimension: TypeAlias = onnx.TensorShapeProto.Dimension
Sides = dict[str, InputSide]

BATCH_NAMES = frozenset("b n bs batch batch_size candidates num_candidates items num_items rows".split())
"""Names of sizes that say that they count the candidates."""


OPEN_BATCH = "export the model with an open batch, which has a name"
"""What to do where numbers do not tell the axis of the candidates."""


def batch_symbol(graph: Graph, sides: Sides, named: Sides) -> str | None:
    """The name of the candidate dimension, where inputs have it in common.

    PyTorch gives all of them the same name, TensorFlow each its own. Where the user's inputs are named, it is a name
    that the others have.
    """
    counts: Counter[str] = Counter()
    dims = {name: dims_of(graph, name) for name, side in sides.items() if side is not InputSide.SHARED}
    leading = [name for name in dims if sides[name] is InputSide.ITEM] if InputSide.USER in named.values() else dims
    first = {d.dim_param for name in leading for d in dims[name][:1] if d.dim_param}
    for sizes in dims.values():
        symbols = dict.fromkeys(d.dim_param for d in sizes if d.dim_param)
        counts.update(s for s in symbols if s in first or not first)
    common = [symbol for symbol, count in counts.most_common(1) if count > 1]
    if _begin_alike(dims.values()):
        return _behind_what_all_have(graph, dims.values())
    behind = _behind_lengths(graph, dims.values(), first)
    if behind is not None:
        return behind
    return common[0] if common else _inner_symbol(dims, sides, named)


def _begin_alike(dims: Iterable[Sequence[Dimension]]) -> bool:
    """Whether all inputs begin with the same number of rows, of more than one."""
    rows = {sizes[0].dim_value if sizes and sizes[0].HasField("dim_value") else 0 for sizes in dims}
    return len(rows) == 1 and min(rows) > 1


def _behind_what_all_have(graph: Graph, dims: Iterable[Sequence[Dimension]]) -> str | None:
    """The size of the candidates where all inputs begin with a number: one that is called so, or else that number.

    Raises:
        UsageError: All inputs have another open size in common as well, which might be that of the candidates.
    """
    shared = set.intersection(*({d.dim_param for d in sizes if d.dim_param} for sizes in dims))
    named = sorted(symbol for symbol in shared if symbol.lower() in BATCH_NAMES)
    if shared and not named:
        raise UsageError(
            f"whether the candidates are the rows of the first axis or '{min(shared)}' cannot be told; export the "
            f"model with an open first axis, or call the other one 'batch'. The inputs are {listed_inputs(graph)}"
        )
    return named[0] if named else None


def _behind_lengths(graph: Graph, dims: Iterable[Sequence[Dimension]], first: Set[str]) -> str | None:
    """The size of the candidates where the items begin with the length of something, as time-major inputs do.

    Each score is of one candidate, so outputs begin with the number of them, or its name says what it is. All inputs
    of open sizes have it, and no size that an item begins with is one.
    """
    leading = [output.type.tensor_type.shape.dim[:1] for output in graph.outputs.values()]
    scores = {sizes[0].dim_param if sizes else "" for sizes in leading} - {""}
    symbols = [{d.dim_param for d in sizes if d.dim_param} for sizes in dims]
    shared = set.intersection(*filter(None, symbols)) if any(symbols) else set()
    counting = [s for s in sorted(shared) if s.lower() in BATCH_NAMES or scores == {s}]
    telling = any(symbol in scores or symbol.lower() in BATCH_NAMES for symbol in first)
    return counting[0] if len(counting) == 1 and first and not telling else None


def _inner_symbol(dims: Mapping[str, Sequence[Dimension]], sides: Sides, named: Sides) -> str | None:
    """The one symbol that the items have behind a first axis of size 1, as one request of ``[1, B, F]`` has it."""
    if InputSide.USER not in named.values():
        return None
    items = [sizes for name, sizes in dims.items() if sides[name] is InputSide.ITEM]
    symbols = {d.dim_param for sizes in items for d in sizes if d.dim_param}
    inner = all(sizes and _is_one(sizes[0]) for sizes in items)
    return symbols.pop() if inner and len(symbols) == 1 else None


def candidate_axis(graph: Graph, name: str, symbol: str | None, sure: bool) -> int | None:
    """The axis of an input on which the candidates lie, ``None`` for one that is given once."""
    dims = dims_of(graph, name)
    for index, dim in enumerate(dims):
        if symbol is not None and dim.dim_param == symbol:
            return index
    if not dims or (not sure and (symbol is not None or _is_one(dims[0]))):
        return None
    return 0


def _is_one(dim: Dimension) -> bool:
    return bool(dim.HasField("dim_value") and dim.dim_value == 1)


def is_item(graph: Graph, name: str, sides: Sides) -> bool:
    """Whether an input of any number of rows must have as many as the others: it can be neither one nor a few."""
    first = {n: dims[0] for n, s in sides.items() if s is not InputSide.SHARED and (dims := dims_of(graph, n))}
    if name not in first or first[name].HasField("dim_value"):
        return False
    rows = {n: (0, MANY) for n, dim in first.items() if not dim.HasField("dim_value")}
    return can_run(graph, rows) and not any(can_run(graph, {**rows, name: (0, count)}) for count in (1, SEVERAL))


def repeated_inside(graph: Graph, users: Sequence[str], axes: Mapping[str, int], symbol: str | None) -> tuple[str, ...]:
    """The user inputs that the graph repeats itself.

    Where items have a symbol in common, another one of the user's stands for another number of rows, and where each
    input has its own, all stand for the same. Exporters do otherwise too: then one of the two cannot run.
    """
    symbols = {name: dims_of(graph, name)[axis].dim_param for name, axis in axes.items()}
    items = {symbol} if symbol else {s for name, s in symbols.items() if name not in users}
    other = tuple(name for name in users if symbols[name] not in ("", *items))
    if "" in items or not items:
        return other if symbol else ()
    likely, unlikely = (other, ()) if symbol else ((), other)

    def fits(single: Sequence[str]) -> bool:
        return can_run(graph, {n: (axis, 1 if n in single else MANY) for n, axis in axes.items() if symbols[n]})

    # Where the user has inputs of both names, the names hardly tell what is repeated; a number of rows is no name.
    doubted = len(other) < sum(rows_of(graph, name, axes) is None for name in users)
    return unlikely if other and (doubted or not fits(likely)) and fits(unlikely) else likely


def is_length(graph: Graph, name: str, inside: Sequence[str], axes: Mapping[str, int]) -> bool:
    """Whether an input may have other numbers of rows than one, beside any number of candidates: a list of its own."""
    rows = {n: (axis, MANY) for n, axis in axes.items()} | dict.fromkeys(inside, (0, 1))
    return can_run(graph, {**rows, name: (0, SEVERAL)})


def rows_of(graph: Graph, name: str, axes: Mapping[str, int]) -> int | None:
    """The number of candidates that an input is declared with, ``None`` where it is open."""
    dim = dims_of(graph, name)[axes[name]]
    return int(dim.dim_value) if dim.HasField("dim_value") else None


def dims_of(graph: Graph, name: str) -> Sequence[Dimension]:
    """The sizes of an input as declared."""
    return list(graph.inputs[name].type.tensor_type.shape.dim)


def shape_text(graph: Graph, name: str) -> str:
    """The same for messages."""
    return "[" + ", ".join(d.dim_param or str(d.dim_value or "?") for d in dims_of(graph, name)) + "]"


def listed_inputs(graph: Graph) -> str:
    """All inputs with their sizes, for messages."""
    return ", ".join(f"{_shown(name)} {shape_text(graph, name)}" for name in graph.inputs)


def _shown(name: str) -> str:
    """In quotes where it would not be seen where the name begins and ends."""
    return f"'{name}'" if "," in name or any(c.isspace() for c in name) else name
