"""The test cases of the ONNX standard as ranking models: some of a node's inputs belong to the user."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import mari_onnx
from mari_onnx import MariError
from tests.soundness.judge import NotRunnableError, Runner, difference

MIN_OPSET = 11
BATCH = "N"
EXTRA = "extra_item"

Feeds = dict[str, Any]


@lru_cache(maxsize=1)
def cases_by_operator() -> dict[str, list[Any]]:
    """Every case that onnx ships for an operator set that can be loaded."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found: dict[str, list[Any]] = {}
    for case in cases:
        if all(o.version >= MIN_OPSET for o in case.model.opset_import if o.domain in ("", "ai.onnx")):
            found.setdefault(operator_of(case), []).append(case)
    return dict(sorted(found.items()))


def operator_of(case: Any) -> str:
    """The operator under test: the name of a case is `test_` and it, where the graph has several nodes."""
    nodes = case.model.graph.node
    return str(nodes[-1].op_type) if nodes else "none"


@dataclass(frozen=True)
class Trial:
    """One case with some inputs called user-side.

    Attributes:
        name: For messages.
        model: The case as a ranking model.
        users: User-side inputs.
        feeds: Inputs of the model, user rows all equal, one set for each number of candidates.
        single: The same with one row for each user input.
    """

    name: str
    model: onnx.ModelProto
    users: tuple[str, ...]
    feeds: tuple[Feeds, ...]
    single: tuple[Feeds, ...]


@dataclass(frozen=True)
class Form:
    """How a case becomes a ranking model.

    Attributes:
        symbolic: The number of candidates is left open.
        constant: Inputs without candidates become weights, as they are in real models.
        axis: Where the candidates are taken to lie.
    """

    symbolic: bool
    constant: bool
    axis: int = 0

    def __str__(self) -> str:
        words = ["symbolic" if self.symbolic else "fixed", "with weights" if self.constant else "", f"axis {self.axis}"]
        return " ".join(w for w in words if w)


PLAIN = (Form(symbolic=False, constant=False), Form(symbolic=True, constant=False))
"""The case as it is, and with its leading dimension made symbolic."""

CONSTANT = (Form(symbolic=False, constant=True), *(Form(symbolic=True, constant=True, axis=a) for a in range(4)))
"""Forms in which the sizes, axes and weights that a node is given are known."""

MANY_NODES = 30
"""An operator written out as a function of more nodes than this is tried in one form: it has a case as it is, too."""

WRITTEN_OUT = (CONSTANT[1],)


def trials(case: Any) -> Iterator[Trial]:
    """Every assignment of sides to the inputs of a case, in each form."""
    feeds, forms = _feeds(case), WRITTEN_OUT if len(case.model.graph.node) > MANY_NODES else PLAIN + CONSTANT
    if feeds is None:
        return
    for form in forms:
        for users in assignments(list(feeds), thorough=not form.axis):
            trial = _trial(case, feeds, users, form)
            if trial is not None:
                yield trial


def assignments(names: Sequence[str], thorough: bool = True) -> list[tuple[str, ...]]:
    """Each input alone, all but each if `thorough`, and all of them."""
    sizes = {1, len(names) - 1 if thorough else 1, len(names)} - {0}
    return [users for size in sorted(sizes) for users in combinations(names, size)]


def _feeds(case: Any) -> Feeds | None:
    """The data of a case by input name, as ONNX Runtime takes it; `None` where it has none."""
    if not case.data_sets or not case.model.graph.input:
        return None
    values, feeds = case.data_sets[0][0], {}
    for declared, value in zip(case.model.graph.input, values, strict=False):
        feeds[declared.name] = _plain(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)
    return feeds


def _plain(value: Any) -> Any:
    """Floats with few digits: the mean of equal numbers is then that number, and their variance 0 and not noise."""
    if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float64):
        with np.errstate(all="ignore"):
            return np.where(np.abs(value) < 2**10, np.round(value * 64) / 64, value).astype(value.dtype)
    return value


def _rows(feeds: Mapping[str, Any], name: str, axis: int) -> int | None:
    value = feeds[name]
    return int(value.shape[axis]) if isinstance(value, np.ndarray) and value.ndim > axis else None


def _trial(case: Any, feeds: Feeds, users: tuple[str, ...], form: Form) -> Trial | None:
    # A user input with one row is given once already, beside others that are repeated.
    batch = max((r for u in users if (r := _rows(feeds, u, form.axis)) is not None), default=None)
    wide = [n for n in feeds if batch is not None and _rows(feeds, n, form.axis) == batch]
    if (form.symbolic and not batch) or (form.constant and not set(users) <= set(wide)):
        return None
    if form.constant and form.symbolic and (batch or 0) < 2:
        return None
    model, feeds = onnx.ModelProto(), dict(feeds)
    model.CopyFrom(case.model)
    if form.constant and not _fix_the_rest(model, feeds, wide):
        return None
    if batch is not None and (form.axis or len(users) == len(feeds)):
        feeds[EXTRA] = np.arange(batch, dtype=np.float32).reshape(batch, 1)
        _add_item(model, batch)
        places = {**dict.fromkeys(wide, form.axis), EXTRA: 0}
    else:
        places = dict.fromkeys(wide, form.axis)
    if form.symbolic:
        _make_symbolic(model, places)
    full = [feeds] if not batch else [_with_rows(feeds, places, users, n) for n in _counts(batch, form)]
    single = [{k: _first(v, places[k]) if k in users and k in places else v for k, v in f.items()} for f in full]
    return Trial(f"{case.name} {form} user={','.join(users)}", model, users, tuple(full), tuple(single))


def _counts(batch: int, form: Form) -> list[int]:
    return sorted({batch, 1, batch + 2}) if form.symbolic else [batch]


def _first(array: np.ndarray, axis: int) -> np.ndarray:
    return np.take(array, range(min(1, array.shape[axis])), axis=axis)


def _with_rows(feeds: Feeds, places: Mapping[str, int], users: Sequence[str], count: int) -> Feeds:
    """The rows of the case over and over, the user's all equal to the first."""
    result = dict(feeds)
    for name, axis in places.items():
        rows = np.zeros(count, np.int64) if name in users else np.arange(count) % feeds[name].shape[axis]
        result[name] = np.ascontiguousarray(np.take(feeds[name], rows, axis=axis))
    return result


def _fix_the_rest(model: onnx.ModelProto, feeds: Feeds, wide: Sequence[str]) -> bool:
    """Makes weights of the inputs that have no candidates; tells whether all of them could be."""
    for name in [n for n in feeds if n not in wide]:
        if not isinstance(feeds[name], np.ndarray):
            return False
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
        model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    return True


def _add_item(model: onnx.ModelProto, batch: int) -> None:
    """An item input that goes straight through."""
    graph = model.graph
    graph.input.append(helper.make_tensor_value_info(EXTRA, TensorProto.FLOAT, [batch, 1]))
    graph.output.append(helper.make_tensor_value_info(f"{EXTRA}_out", TensorProto.FLOAT, [batch, 1]))
    graph.node.append(helper.make_node("Identity", [EXTRA], [f"{EXTRA}_out"]))


def _make_symbolic(model: onnx.ModelProto, places: Mapping[str, int]) -> None:
    for value in model.graph.input:
        if value.name in places and value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.dim[places[value.name]].dim_param = BATCH
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    del model.graph.value_info[:]


@dataclass
class Tally:
    """How many trials ended how."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share that was optimized, of those that could be compared."""
        judged = self.counts["optimized"] + self.counts["refused"]
        return self.counts["optimized"] / judged if judged else 1.0


def judge(trial: Trial, tally: Tally) -> None:
    """Optimizes the model of a trial and compares the results."""
    try:
        runner = Runner(trial.model)
    except NotRunnableError:
        tally.counts["not runnable"] += 1
        return
    expected = [_run(runner, f) for f in trial.feeds]
    if all(e is None for e in expected):
        tally.counts["not runnable"] += 1
        return
    try:
        result = mari_onnx.optimize(trial.model, user_inputs=list(trial.users), verify=False)
    except MariError as error:
        tally.counts["refused"] += 1
        tally.counts[f"refused: {type(error).__name__}"] += 1
        return
    except Exception as error:  # nothing but a MariError may come out
        tally.wrong.append(f"{trial.name}: {type(error).__name__}: {error}")
        return
    if not _is_deterministic(trial, expected):
        tally.counts["random"] += 1
        return
    problem = _compared(trial, result.model, expected)
    if problem is None:
        tally.counts["optimized"] += 1
    else:
        tally.wrong.append(f"{trial.name}: {problem}")


def _compared(trial: Trial, model: onnx.ModelProto, expected: Sequence[list[Any] | None]) -> str | None:
    try:
        runner = Runner(model)
        for feeds, wanted in zip(trial.single, expected, strict=True):
            if wanted is not None:
                problem = difference(wanted, runner(feeds))
                if problem is not None:
                    return f"{problem} ({', '.join(f'{k}{list(np.shape(v))}' for k, v in feeds.items())})"
    except NotRunnableError as error:
        return f"the result does not run: {error}"
    return None


def _run(runner: Runner, feeds: Feeds) -> list[Any] | None:
    try:
        return runner(feeds)
    except NotRunnableError:
        return None


def _is_deterministic(trial: Trial, expected: Sequence[list[Any] | None]) -> bool:
    """Whether the original gives the same again: random operators without a seed do not."""
    again = Runner(trial.model)
    return all(
        e is None or difference(e, _run(again, f) or []) is None for f, e in zip(trial.feeds, expected, strict=True)
    )
