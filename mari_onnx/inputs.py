"""Which inputs are user-side: what the caller says, what the model says, and at last what names suggest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

import onnx

from mari_onnx.analysis.inputs import Inputs, InputSide
from mari_onnx.columns import InputSpec, column_numbers, columns_text, parse_spec
from mari_onnx.errors import UsageError
from mari_onnx.ir.graph import Graph

METADATA_USER = "mari.user_inputs"

USER_PREFIXES = ("user", "usr", "u_", "uid", "ctx", "context", "query", "request", "req_", "hist", "member", "viewer")
ITEM_PREFIXES = ("item", "cand", "target", "doc", "ad_", "i_", "iid", "product", "video", "goods", "sku")


@dataclass(frozen=True)
class Chosen:
    """The sides of the inputs, and the columns of inputs that hold both.

    Attributes:
        inputs: Sides and candidate axes. A stacked input counts as item here.
        stacked: User-side columns of each stacked input.
        widths: Number of columns of each stacked input.
    """

    inputs: Inputs
    stacked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)

    def user_specs(self) -> list[str]:
        """What to type to choose the same again."""
        whole = self.inputs.on(InputSide.USER)
        return whole + [f"{name}[:, {columns_text(columns)}]" for name, columns in self.stacked.items()]


def choose_inputs(graph: Graph, user: Sequence[str] | None = None, item: Sequence[str] | None = None) -> Chosen:
    """Finds the side of every input.

    Args:
        graph: The graph.
        user: Names, globs, or columns (``X[:, 0:12,20]``) of user-side inputs.
        item: The same for item-side inputs. With only these given, every other input is user-side.

    Raises:
        UsageError: An unknown input, a contradiction, nothing or everything user-side, no candidate axis.
    """
    if not graph.inputs:
        raise UsageError("the model has no inputs")
    sides, stacked, notes = _said(graph, user or (), item or ())
    if not user and not item:
        sides, stacked, notes = _from_metadata(graph) or _from_shapes(graph) or _from_names(graph)
    rest = InputSide.USER if item and not user else InputSide.ITEM
    complete = {name: sides.get(name, _default(graph, name, rest)) for name in graph.inputs}
    return _checked(graph, complete, stacked, notes)


Sides = dict[str, InputSide]
Found = tuple[Sides, dict[str, tuple[int, ...]], tuple[str, ...]]


def _said(graph: Graph, user: Sequence[str], item: Sequence[str]) -> Found:
    sides: Sides = {}
    columns: dict[tuple[str, InputSide], set[int]] = {}
    for side, texts in ((InputSide.USER, user), (InputSide.ITEM, item)):
        for spec in map(parse_spec, texts):
            for name in _matching(graph, spec):
                if spec.columns is not None:
                    numbers = column_numbers(spec, _width(graph, name, spec))
                    columns.setdefault((name, side), set()).update(numbers)
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
    width = _dims(graph, name)[1].dim_value
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
    if spec.pattern in graph.inputs:
        return [spec.pattern]
    found = [n for n in names if fnmatchcase(n, spec.pattern)]
    if found:
        return found
    if any(c in spec.pattern for c in "*?["):
        raise UsageError(f"no input matches '{spec.pattern}'; the inputs are {_listed(graph)}")
    near = get_close_matches(spec.pattern, names, 1, 0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise UsageError(f"the model has no input '{spec.pattern}'{hint} The inputs are {_listed(graph)}")


def _width(graph: Graph, name: str, spec: InputSpec) -> int:
    dims = _dims(graph, name)
    if len(dims) != 2 or not dims[1].HasField("dim_value"):
        raise UsageError(f"'{spec.text}': '{name}' is {_shape_text(graph, name)}, not a matrix of known width")
    return int(dims[1].dim_value)


def _from_metadata(graph: Graph) -> Found | None:
    """What an earlier run, or the exporter, wrote into the model."""
    text = next((p.value for p in graph.model.metadata_props if p.key == METADATA_USER), None)
    if text is None:
        return None
    try:
        specs = json.loads(text)
    except json.JSONDecodeError:
        specs = [s.strip() for s in text.split(";") if s.strip()]
    if not isinstance(specs, list) or not all(isinstance(s, str) for s in specs):
        raise UsageError(f"the model's metadata '{METADATA_USER}' is not a list of inputs: {text}")
    sides, stacked, _ = _said(graph, specs, ())
    return sides, stacked, (f"user inputs as in the model's metadata: {', '.join(specs)}",)


def _from_shapes(graph: Graph) -> Found | None:
    """Inputs with one row where others have as many as there are candidates: the model repeats them itself."""
    first = {name: _dims(graph, name)[0] for name in graph.inputs if _dims(graph, name)}
    single = [name for name, dim in first.items() if dim.dim_value == 1]
    symbols = {d.dim_param for d in first.values() if d.dim_param}
    if not single or not symbols:
        return None
    return dict.fromkeys(single, InputSide.SHARED), {}, (f"given once per request: {', '.join(single)}",)


def _from_names(graph: Graph) -> Found:
    sides: Sides = {}
    for name in graph.inputs:
        plain = name.lower()
        if plain.startswith(USER_PREFIXES):
            sides[name] = InputSide.USER
        elif plain.startswith(ITEM_PREFIXES):
            sides[name] = InputSide.ITEM
    users = [n for n, s in sides.items() if s is InputSide.USER]
    unknown = [n for n in graph.inputs if n not in sides]
    if not users or unknown or len(users) == len(graph.inputs):
        doubt = f" ({', '.join(unknown)} could be either)" if unknown and users else ""
        raise UsageError(
            f"which inputs are user-side cannot be told from the model{doubt}; name them with "
            f"--user NAME (globs and columns such as 'X[:, 0:12]' work). The inputs are {_listed(graph)}"
        )
    note = f"guessed from their names as user-side: {', '.join(users)}; say --user to be sure"
    return sides, {}, (note,)


def _default(graph: Graph, name: str, rest: InputSide) -> InputSide:
    """The side of an input that nobody named: one that has no rows to repeat is given once."""
    dims = _dims(graph, name)
    if not dims or (dims[0].HasField("dim_value") and dims[0].dim_value == 1):
        return InputSide.SHARED
    return rest


def _checked(graph: Graph, sides: Sides, stacked: dict[str, tuple[int, ...]], notes: tuple[str, ...]) -> Chosen:
    for name in stacked:
        sides[name] = InputSide.ITEM
    symbol = _batch_symbol(graph, sides)
    axes: dict[str, int] = {}
    for name, side in list(sides.items()):
        if side is InputSide.SHARED:
            continue
        axis = _candidate_axis(graph, name, symbol)
        if axis is None:
            what = "user-side" if side is InputSide.USER else "item-side"
            raise UsageError(
                f"the {what} input '{name}' is {_shape_text(graph, name)}: it has no candidate axis; leave it out if it "
                "is given once per request"
            )
        axes[name] = axis
    for name in [n for n, s in sides.items() if s is InputSide.USER]:
        dim = _dims(graph, name)[axes[name]]
        if dim.HasField("dim_value") and dim.dim_value == 1:
            sides[name] = InputSide.SHARED
            del axes[name]
    batch = _fixed_batch(graph, sides, axes)
    _check_sides(graph, sides, stacked)
    widths = {name: int(_dims(graph, name)[1].dim_value) for name in stacked}
    return Chosen(Inputs(sides, axes, batch, notes), stacked, widths)


def _check_sides(graph: Graph, sides: Sides, stacked: Mapping[str, tuple[int, ...]]) -> None:
    kinds = set(sides.values())
    if InputSide.ITEM not in kinds:
        raise UsageError(
            "every input is user-side, so nothing is left that differs between candidates; "
            f"name only the user's. The inputs are {_listed(graph)}"
        )
    if InputSide.USER not in kinds and InputSide.SHARED not in kinds and not stacked:
        raise UsageError(f"no input is user-side, so there is nothing to do. The inputs are {_listed(graph)}")


def _batch_symbol(graph: Graph, sides: Sides) -> str | None:
    """The name of the candidate dimension, where all item inputs have it as a common one."""
    common: set[str] | None = None
    for name, side in sides.items():
        if side is InputSide.ITEM:
            names = {d.dim_param for d in _dims(graph, name) if d.dim_param}
            common = names if common is None else common & names
    return min(common) if common and len(common) == 1 else None


def _candidate_axis(graph: Graph, name: str, symbol: str | None) -> int | None:
    dims = _dims(graph, name)
    if symbol is not None:
        for index, dim in enumerate(dims):
            if dim.dim_param == symbol:
                return index
    return 0 if dims else None


def _fixed_batch(graph: Graph, sides: Sides, axes: Mapping[str, int]) -> int | None:
    sizes = {
        name: int(_dims(graph, name)[axis].dim_value)
        for name, axis in axes.items()
        if _dims(graph, name)[axis].HasField("dim_value")
    }
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {_shape_text(graph, name)}" for name in sizes)
        raise UsageError(f"the inputs do not agree on the number of candidates: {listed}")
    item = [n for n in sizes if sides[n] is InputSide.ITEM]
    return sizes[item[0]] if item else None


def _dims(graph: Graph, name: str) -> Sequence[onnx.TensorShapeProto.Dimension]:
    return list(graph.inputs[name].type.tensor_type.shape.dim)


def _shape_text(graph: Graph, name: str) -> str:
    return "[" + ", ".join(d.dim_param or str(d.dim_value or "?") for d in _dims(graph, name)) + "]"


def _listed(graph: Graph) -> str:
    return ", ".join(f"{name} {_shape_text(graph, name)}" for name in graph.inputs)
