"""Which inputs are user-side: what the caller says, what the model says, and at last what names suggest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from mari_onnx.analysis.inputs import Inputs, InputSide
from mari_onnx.candidates import (
    OPEN_BATCH,
    Sides,
    batch_symbol,
    candidate_axis,
    dims_of,
    is_item,
    is_length,
    listed_inputs,
    repeated_inside,
    rows_of,
    shape_text,
)
from mari_onnx.checks import did_you_mean
from mari_onnx.columns import InputSpec, column_numbers, columns_text, matching, parse_spec, parse_specs
from mari_onnx.errors import UsageError
from mari_onnx.ir.graph import Graph

GLOB = "*?["
METADATA_USER = "mari.user_inputs"
METADATA_STACKED = "mari.stacked_inputs"

SERVED = "serving_default_"
"""What TensorFlow puts in front of the names of a served model's inputs."""

USER_PREFIXES = ("user", "usr", "u_", "uid", "ctx", "context", "query", "request", "req_", "hist", "member", "viewer")
ITEM_PREFIXES = ("item", "cand", "target", "doc", "ad_", "i_", "iid", "product", "video", "goods", "sku")


@dataclass(frozen=True)
class Chosen:
    """The sides of the inputs, and the columns of inputs that hold both.

    Attributes:
        inputs: Sides and candidate axes. A stacked input counts as item here.
        stacked: User-side columns of each stacked input.
        widths: Number of columns of each stacked input.
        users: The user-side inputs, those that have one row already among them.
        repeated_inside: Those of them whose rows go by another symbol than the items': the graph repeats them itself.
    """

    inputs: Inputs
    stacked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    repeated_inside: tuple[str, ...] = ()

    def user_specs(self) -> list[str]:
        """What to type to choose the same again."""
        return [*self.users] + [f"{name}[:, {columns_text(columns)}]" for name, columns in self.stacked.items()]


def choose_inputs(graph: Graph, user: Sequence[str] | None = None, item: Sequence[str] | None = None) -> Chosen:
    """Finds the side of every input.

    Args:
        graph: The graph.
        user: Names, globs, or columns (``X[:, 0:12,20]``) of user-side inputs, or several with commas between them.
        item: The same for item-side inputs. With only these given, every other input is user-side.

    Raises:
        UsageError: An unknown input, a contradiction, nothing or everything user-side, no candidate axis.
    """
    if not graph.inputs:
        raise UsageError("the model has no inputs")
    named, stacked, notes = _said(graph, user or (), item or ())
    if not user and not item:
        named, stacked, notes = _from_metadata(graph) or _from_shapes(graph) or _from_names(graph)
    rest = InputSide.USER if item and not user else InputSide.ITEM
    sides = {name: named.get(name, rest) for name in graph.inputs}
    return _checked(graph, sides, stacked, named, notes)


Notes = tuple[str, ...]
Found = tuple[Sides, dict[str, tuple[int, ...]], Notes]


def _said(graph: Graph, user: Sequence[str], item: Sequence[str]) -> Found:
    sides: Sides = {}
    columns: dict[tuple[str, InputSide], set[int]] = {}
    for side, texts in ((InputSide.USER, user), (InputSide.ITEM, item)):
        for spec in parse_specs(texts, list(graph.inputs)):
            for name in _matching(graph, spec):
                if spec.columns is not None:
                    chosen = column_numbers(spec, _width(graph, name, spec))
                    columns.setdefault((name, side), set()).update(chosen)
                elif sides.setdefault(name, side) is not side:
                    raise UsageError(f"the input '{name}' is named as user-side and as item-side")
    stacked: dict[str, tuple[int, ...]] = {}
    for (name, side), numbers in columns.items():
        if name in sides:
            raise UsageError(f"the input '{name}' is named as a whole and by its columns")
        _stack(graph, name, side, numbers, columns, stacked, sides)
    return sides, stacked, ()


def _stack(
    graph: Graph,
    name: str,
    side: InputSide,
    numbers: set[int],
    columns: Mapping[tuple[str, InputSide], set[int]],
    stacked: dict[str, tuple[int, ...]],
    sides: Sides,
) -> None:
    """Notes the user-side columns of a stacked input; those not named are of the other side."""
    width = dims_of(graph, name)[1].dim_value
    user = columns.get((name, InputSide.USER), set(range(width)) - numbers)
    item = columns.get((name, InputSide.ITEM), set(range(width)) - user)
    if user & item:
        raise UsageError(f"columns {columns_text(tuple(sorted(user & item)))} of '{name}' are named for both sides")
    if user | item != set(range(width)):
        missing = columns_text(tuple(sorted(set(range(width)) - user - item)))
        raise UsageError(
            f"columns {missing} of '{name}' are named for neither side; name one side only, or all columns"
        )
    if user and item:
        stacked[name] = tuple(sorted(user))
    else:
        sides[name] = InputSide.USER if user else InputSide.ITEM


def _matching(graph: Graph, spec: InputSpec) -> list[str]:
    names = list(graph.inputs)
    found = matching(spec.pattern, names)
    if found:
        return found
    if any(c in spec.pattern for c in GLOB):
        literal = any(c in name for name in names for c in GLOB)
        hint = "; where [, * or ? is part of a name, type [[], [*] or [?]" if literal else ""
        raise UsageError(f"no input matches '{spec.pattern}'{hint}; the inputs are {listed_inputs(graph)}")
    hint = did_you_mean(spec.pattern, names)
    raise UsageError(
        f"the model has no input '{spec.pattern}'{':' if hint else '.'}{hint} The inputs are {listed_inputs(graph)}"
    )


def _width(graph: Graph, name: str, spec: InputSpec) -> int:
    dims = dims_of(graph, name)
    if len(dims) != 2 or not dims[1].HasField("dim_value"):
        raise UsageError(f"'{spec.text}': '{name}' is {shape_text(graph, name)}, not a matrix of known width")
    return int(dims[1].dim_value)


def _from_metadata(graph: Graph) -> Found | None:
    """What an earlier run, or the exporter, wrote into the model."""
    text = next((p.value for p in graph.model.metadata_props if p.key == METADATA_USER), None)
    if text is None:
        return None
    try:
        specs = json.loads(text)
    except (ValueError, RecursionError):
        specs = [s.strip() for s in text.split(";") if s.strip()]
    if not isinstance(specs, list) or not all(isinstance(s, str) for s in specs):
        raise UsageError(f"the model's metadata '{METADATA_USER}' is not a list of inputs: {text}")
    specs = [_taken_apart(graph).get(parse_spec(s).pattern, s) for s in specs]
    sides, stacked, _ = _said(graph, specs, ())
    return sides, stacked, (f"user inputs as in the model's metadata: {', '.join(specs)}",)


def _taken_apart(graph: Graph) -> dict[str, str]:
    """Stacked inputs that an earlier run took apart, with the input that has the user's columns now."""
    text = next((p.value for p in graph.model.metadata_props if p.key == METADATA_STACKED), "{}")
    try:
        taken = json.loads(text)
        return {name: str(entry["user"]) for name, entry in taken.items() if name not in graph.inputs}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return {}


def _from_shapes(graph: Graph) -> Found | None:
    """Inputs with one row where others have as many as there are candidates: the model repeats them itself."""
    first = {name: dims_of(graph, name)[0] for name in graph.inputs if dims_of(graph, name)}
    single = [name for name, dim in first.items() if dim.dim_value == 1]
    symbols = {d.dim_param for d in first.values() if d.dim_param}
    if not single or not symbols:
        return None
    return dict.fromkeys(single, InputSide.SHARED), {}, (f"given once per request: {', '.join(single)}",)


def _from_names(graph: Graph) -> Found:
    sides: Sides = {}
    for name in graph.inputs:
        plain = name.lower().removeprefix(SERVED)
        if plain.startswith(USER_PREFIXES):
            sides[name] = InputSide.USER
        elif plain.startswith(ITEM_PREFIXES):
            sides[name] = InputSide.ITEM
    users = [n for n, s in sides.items() if s is InputSide.USER]
    unknown = [n for n in graph.inputs if n not in sides]
    if not users or unknown or len(users) == len(graph.inputs):
        doubt = f" ({', '.join(unknown)} could be either)" if unknown and users else ""
        raise UsageError(
            f"which inputs are user-side cannot be told from the model{doubt}; name them with --user NAME (in Python "
            f"user_inputs; globs and columns such as 'X[:, 0:12]' work). The inputs are {listed_inputs(graph)}"
        )
    note = f"guessed from their names as user-side: {', '.join(users)}; say --user to be sure"
    return sides, {}, (note,)


def _checked(graph: Graph, sides: Sides, stacked: dict[str, tuple[int, ...]], named: Sides, notes: Notes) -> Chosen:
    for name in stacked:
        sides[name] = InputSide.ITEM
    sure = {*named, *stacked}
    symbol = batch_symbol(graph, sides, named)
    axes: dict[str, int] = {}
    for name, side in list(sides.items()):
        if side is InputSide.SHARED:
            continue
        by_another_name = bool(symbol) and all(d.dim_param != symbol for d in dims_of(graph, name))
        unnamed_item = by_another_name and InputSide.USER in named.values() and is_item(graph, name, sides)
        axis = candidate_axis(graph, name, symbol, name in sure or unnamed_item)
        if axis is None and (name not in sure or side is InputSide.USER):
            sides[name] = InputSide.SHARED
        elif axis is None:
            raise UsageError(
                f"the {side.value}-side input '{name}' is {shape_text(graph, name)}: it has no candidate axis; leave "
                "it out if it is given once per request"
            )
        else:
            axes[name] = axis
    users = tuple(n for n, s in sides.items() if s is InputSide.USER)
    inside = repeated_inside(graph, users, axes, symbol)
    # Beside items of any number, a number of rows that is written down is not theirs: a vector, or a list of tokens.
    is_open = bool(symbol) or any(rows_of(graph, n, axes) is None for n in axes if sides[n] is InputSide.ITEM)
    for name in users:
        rows = rows_of(graph, name, axes)
        if name in inside or rows == 1 or (is_open and rows):
            sides[name] = InputSide.SHARED
            del axes[name]
    batch = _settled_batch(graph, sides, axes, sure)
    _check_names(graph, axes)
    _check_sides(graph, sides, stacked)
    widths = {name: int(dims_of(graph, name)[1].dim_value) for name in stacked}
    repeated = tuple(name for name in inside if not is_length(graph, name, inside, axes))
    return Chosen(Inputs(sides, axes, batch, notes), stacked, widths, users, repeated)


def _settled_batch(graph: Graph, sides: Sides, axes: dict[str, int], sure: Set[str]) -> int | None:
    """The number of candidates, where it is fixed; inputs nobody named that cannot have it are given once.

    Raises:
        UsageError: Named inputs disagree, or one has no rows.
    """
    rows = {name: rows_of(graph, name, axes) for name in axes}
    items = [name for name in rows if sides[name] is InputSide.ITEM]
    for name in [n for n, r in rows.items() if r == 0]:
        raise UsageError(f"the {sides[name].value}-side input '{name}' is {shape_text(graph, name)}: it has no rows")
    said = {n: r for n, r in rows.items() if n in sure} or rows
    wanted = None if None in said.values() or (None in rows.values() and not sure) else next(iter(said.values()), None)
    for name, number in rows.items():
        if number == wanted:
            continue
        if name in sure or not sure:
            raise UsageError(_disagreement(graph, rows))
        if wanted is None or number is not None:
            sides[name] = InputSide.SHARED
            del axes[name]
    if items and not any(sides[name] is InputSide.ITEM for name in items):
        raise UsageError(_disagreement(graph, rows))
    return wanted


def _check_names(graph: Graph, axes: Mapping[str, int]) -> None:
    """Refuses to take two names for one number where an input has both.

    Raises:
        UsageError: The candidates of one input bear the name of another axis of an input whose own bear another.
    """
    symbols = {name: [d.dim_param for d in dims_of(graph, name)] for name in axes}
    own = {name: symbols[name][axis] for name, axis in axes.items()}
    for symbol in own.values():
        other = next((n for n, names in symbols.items() if own[n] != symbol and symbol and symbol in names), None)
        if other is not None:
            raise UsageError(
                f"whether '{symbol}' or '{own[other]}' is the number of candidates cannot be told, of which '{other}' "
                "has both; call it the same in all inputs, and let outputs begin with it. "
                f"The inputs are {listed_inputs(graph)}"
            )


def _disagreement(graph: Graph, rows: Mapping[str, int | None]) -> str:
    """What to say of inputs with different numbers of rows; one may have the candidates on another axis."""
    listed = ", ".join(f"{name} {shape_text(graph, name)}" for name in rows)
    behind = [
        name
        for name, number in rows.items()
        for dim in dims_of(graph, name)[1:]
        if dim.dim_value > 1 and dim.dim_value != number and dim.dim_value in rows.values()
    ]
    hint = f"; if they are on another axis of {behind[0]} than the first, {OPEN_BATCH}" if behind else ""
    return f"the inputs do not agree on the number of candidates: {listed}{hint}"


def _check_sides(graph: Graph, sides: Sides, stacked: Mapping[str, tuple[int, ...]]) -> None:
    kinds = set(sides.values())
    if InputSide.ITEM not in kinds:
        raise UsageError(
            "every input is user-side, so nothing is left that differs between candidates; "
            f"name only the user's. The inputs are {listed_inputs(graph)}"
        )
    if InputSide.USER not in kinds and InputSide.SHARED not in kinds and not stacked:
        raise UsageError(f"no input is user-side, so there is nothing to do. The inputs are {listed_inputs(graph)}")
