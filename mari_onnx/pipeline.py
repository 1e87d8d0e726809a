"""The pipeline: load -> normalise -> analyse -> hoist -> rewrite -> tidy -> verify."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from mari_onnx.analysis import Analysis, Inputs, InputSide, analyze_graph
from mari_onnx.collecting import collected_seldom
from mari_onnx.declared import declare_what_bodies_read, with_right_outputs
from mari_onnx.errors import VerificationError
from mari_onnx.hoist import hoist
from mari_onnx.inputs import METADATA_USER, Chosen, choose_inputs
from mari_onnx.ir import Graph, read_graph, write_model
from mari_onnx.load import Loaded, ModelLike, load_model
from mari_onnx.masked_writes import with_rows_written
from mari_onnx.normalise import normalise
from mari_onnx.options import Options, options_from
from mari_onnx.remarks import remarks_on_result
from mari_onnx.report import Report, summarise
from mari_onnx.resolving import resolve
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.objective import LESS
from mari_onnx.rewrite.record import Applied, Rewritten
from mari_onnx.rewrite.registry import AnyRule, chosen_rules
from mari_onnx.rewrite.rivals import rewrite_afterwards, rewrite_best
from mari_onnx.rewrite.settle import settle_sizes
from mari_onnx.rewrite.workspace import Workspace
from mari_onnx.signature import Separated, restore_signature, separate
from mari_onnx.tidy import tidy
from mari_onnx.validity import check_result, check_valid
from mari_onnx.verification import VerifyReport, verify
from mari_onnx.verification.verifier import UnusableResultError

if TYPE_CHECKING:
    from mari_onnx.tuning import Tuned

Progress = Callable[[str], None]
"""Told ``stage`` or ``stage: detail``."""
Place = Callable[[onnx.ModelProto], "str | os.PathLike[str]"]
"""Writes a result somewhere, so that it can be compared as the file that it will be."""


REPORT_IT = "please report this model"


@dataclass(frozen=True)
class OptimizeResult:
    """An optimized model.

    Attributes:
        model: The result. Weights that lay in external files still do.
        applied: The rewrites, in order.
        report: Figures before and after.
        verification: The comparison with the original; ``None`` where it was switched off.
        notes: Sentences for the user.
        source: What it was made from.
        tuned: What the timing of alternatives showed; ``None`` where none were timed.
    """

    model: onnx.ModelProto
    applied: tuple[Applied, ...]
    report: Report
    source: Loaded = field(repr=False)
    verification: VerifyReport | None = None
    notes: tuple[str, ...] = field(default=())
    tuned: Tuned | None = None

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the model: complete and in one step, with the data files it needs beside it.

        Args:
            path: The file to write.
            overwrite: Whether the source, or other data files in the way, may be replaced.

        Raises:
            MariError: It cannot be written there.
        """
        from mari_onnx.save import Output

        with Output(path, self.source, overwrite=overwrite) as output:
            output.stage(self.model)
            output.commit()


@dataclass(frozen=True)
class Built:
    """A result before verification.

    Attributes:
        model: The result.
        original: The graph as it was normalised.
        analysis: What was proven of it.
        graph: The graph of the result.
        after: What is proven of that.
        rewritten: What the rules did.
        user_inputs: What to type to choose the same user inputs.
        folder: Where its external weights lie, if anywhere.
        converted_from: The operator set that the original was converted from, 0 where it was not.
    """

    model: onnx.ModelProto
    original: Graph
    analysis: Analysis
    graph: Graph
    after: Analysis
    rewritten: Rewritten
    user_inputs: tuple[str, ...]
    folder: Path | None = None
    converted_from: int = 0


@dataclass(frozen=True)
class Prepared:
    """A model whose analysis is done.

    Attributes:
        original: The graph as it was normalised.
        chosen: The sides that were chosen for its inputs.
        separated: The graph with stacked inputs taken apart.
        analysis: What was proven of that.
    """

    original: Graph
    chosen: Chosen
    separated: Separated
    analysis: Analysis

    def hoisted(self) -> Workspace:
        """The graph behind the hoist, each time a new one."""
        return hoist(_copy(self.separated.graph), self.analysis)


def optimize(model: ModelLike, user_inputs: Sequence[str] | None = None, **options: Any) -> OptimizeResult:
    """Makes a ranking model run its user-side work once per request.

    Args:
        model: A path, or a model; never changed.
        user_inputs: Names, globs (``user_*``) or columns (``X[:, 0:12,20]``) of the user-side inputs. ``None``: as
            the model's metadata, shapes or names say.
        options: Fields of :class:`Options`.

    Returns:
        The result, verified unless ``verify=False``. User inputs have 1 row, item inputs B rows as before; names,
        order and types stay.

    Raises:
        MariError: With one sentence; see :mod:`mari_onnx.errors`.
    """
    return run(model, options_from(optimize, {"user_inputs": user_inputs, **options}))


def run(
    source: ModelLike | Loaded, options: Options, progress: Progress | None = None, place: Place | None = None
) -> OptimizeResult:
    """:func:`optimize` with its options as one value.

    Args:
        source: A path, a model, or one that has been read already.
        options: How.
        progress: Told the stage.
        place: Writes the result before it is verified.
    """
    tell = progress or (lambda stage: None)
    tell("load")
    loaded = load_model(source)
    rules = chosen_rules(options.disable)
    built = build(loaded, options, rules, None, tell)
    tuned = None
    if options.tune:
        built, options, tuned = _tuned(loaded, options, rules, built, tell)
    report = summarise(built, options.cost_model)
    checked = None
    if options.verify:
        tell("verify")
        checked = _verified(loaded, options, built, place, tell)
    notes = (
        built.analysis.inputs.notes
        + remarks_on_result(loaded.model, built, options, report)
        + (checked.notes if checked is not None else ())
    )
    return OptimizeResult(built.model, built.rewritten.applied, report, loaded, checked, notes, tuned)


def _tuned(
    loaded: Loaded, options: Options, rules: Sequence[AnyRule], built: Built, tell: Progress
) -> tuple[Built, Options, Tuned]:
    """The fastest of several results, and the options that led to it."""
    from mari_onnx.tuning import tune

    found = tune(loaded, options, rules, built, tell)
    return found.built, found.options, found


def _verified(
    loaded: Loaded,
    options: Options,
    built: Built,
    place: Place | None,
    tell: Progress,
) -> VerifyReport:
    """Compares with the original, and finds the guilty rewrite where they differ."""
    from mari_onnx.bisect import guilty_rewrite

    advice = REPORT_IT
    try:
        written = place(built.model) if place is not None else None
        checked = check(loaded.source, built, options, written, lambda line: tell(f"verify: {line}"))
        if checked.passed:
            return checked
        problem = checked.summary()
        if checked.restless:
            raise VerificationError(f"{problem}; {checked.restless}")
        advice = checked.sensitivity or advice
    except UnusableResultError as error:
        problem = str(error)
    tell("bisect")
    raise VerificationError(f"{problem}; {guilty_rewrite(loaded.source, loaded, options, built)}; {advice}")


@collected_seldom()
def build(
    loaded: Loaded,
    options: Options,
    rules: Sequence[AnyRule],
    limit: int | None = None,
    tell: Progress = lambda stage: None,
    afterwards: Sequence[AnyRule] = (),
    less: float = LESS,
) -> Built:
    """Every stage but verification.

    Args:
        loaded: The model.
        options: How.
        rules: The rules to use.
        limit: Stop after so many rewrites, with just these rules and those that come afterwards.
        tell: Told the stage.
        afterwards: With a limit, the rules to use when the others find nothing more.
        less: With a limit, what each size of requests counts, in proportion to the one before.

    Raises:
        ModelError: The result is not a valid model (which is a bug of ours).
    """
    prepared = prepare(loaded, options, tell)

    def hoisted() -> Workspace:
        tell("hoist")
        workspace = prepared.hoisted()
        tell("rewrite")
        return workspace

    def progress(done: int, nodes: int) -> None:
        tell(f"rewrite: {done} of {nodes} nodes")

    if limit is None:
        workspace, rewritten = rewrite_best(hoisted, rules, options.cost_model, progress)
    else:
        workspace = hoisted()
        rewritten = rewrite(workspace, rules, options.cost_model, limit=limit, progress=progress, less=less)
        if afterwards:
            rewritten = rewrite_afterwards(workspace, rewritten, afterwards, options.cost_model, limit)
    tell("tidy")
    return _finished(loaded, options, prepared, workspace, rewritten)


def prepare(loaded: Loaded, options: Options, tell: Progress = lambda stage: None) -> Prepared:
    """What is in front of the hoist.

    Args:
        loaded: The model.
        options: Which inputs are the user's.
        tell: Told the stage.

    Raises:
        MariError: The model is not valid, or its inputs make no sense.
    """
    check_valid(loaded)
    tell("analyse")
    return _analysed(loaded, options.user_inputs, options.item_inputs)


def _analysed(loaded: Loaded, user_inputs: Sequence[str] | None, item_inputs: Sequence[str] | None) -> Prepared:
    original = normalise(read_graph(loaded.model, loaded.folder))
    chosen = choose_inputs(original, user_inputs, item_inputs)
    separated, analysis = resolve(separate(original, chosen))
    separated = replace(separated, graph=with_right_outputs(separated.graph, analysis))
    return Prepared(original, chosen, separated, analysis)


def _finished(
    loaded: Loaded, options: Options, prepared: Prepared, workspace: Workspace, rewritten: Rewritten
) -> Built:
    """What is behind the rules."""
    original, separated = prepared.original, prepared.separated
    settle_sizes(workspace)
    graph = tidy(workspace.graph)
    after = analyze_graph(graph, _narrowed(separated.inputs, graph))
    graph = with_rows_written(graph, after, original)
    if options.keep_signature:
        graph = restore_signature(graph, original, separated)
    result = write_model(graph)
    declare_what_bodies_read(result, graph, after)
    users = tuple(prepared.chosen.user_specs())
    _note(result, users, {} if options.keep_signature else separated.stacked, separated)
    check_result(result, loaded)
    analysis, before = prepared.analysis, loaded.converted_from
    return Built(result, original, analysis, graph, after, rewritten, users, loaded.folder, before)


def analyze(
    model: ModelLike, user_inputs: Sequence[str] | None = None, item_inputs: Sequence[str] | None = None
) -> Analysis:
    """What is proven of every value of a model; see :class:`~mari_onnx.analysis.Analysis`.

    Args:
        model: A path, or a model; never changed.
        user_inputs: As in :func:`optimize`.
        item_inputs: The same for item-side inputs.

    Raises:
        MariError: The model cannot be read, or its inputs make no sense.
    """
    return _analysed(load_model(model), user_inputs, item_inputs).analysis


def check(
    source: ModelLike,
    built: Built,
    options: Options,
    written: ModelLike | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compares a result with the original, as it was written where it was."""
    return verify(
        source,
        built.model if written is None else written,
        folder=built.folder,
        user_inputs=built.user_inputs,
        batches=options.batches,
        seeds=options.seeds,
        samples=options.samples,
        rtol=options.rtol,
        atol=options.atol,
        progress=progress,
    )


def _narrowed(inputs: Inputs, graph: Graph) -> Inputs:
    """The sides of the result's inputs: what has one row now is given once."""
    sides = dict(inputs.sides)
    for name in inputs.on(InputSide.USER):
        if graph.inputs[name].type.tensor_type.shape.dim[inputs.axes[name]].dim_value == 1:
            sides[name] = InputSide.SHARED
    return replace(inputs, sides=sides)


def _copy(graph: Graph) -> Graph:
    return Graph(graph.model, graph.opset, graph.inputs, graph.outputs, graph.weights, graph.nodes)


def _note(model: onnx.ModelProto, users: Sequence[str], stacked: Mapping[str, Any], separated: Separated) -> None:
    """Writes what the next reader needs: which inputs are the user's, and how stacked ones were taken apart."""
    taken = {
        name: {
            "user": s.user,
            "item": s.item,
            "user_columns": list(s.user_columns),
            "item_columns": list(s.item_columns),
        }
        for name, s in stacked.items()
    }
    axes = {**dict.fromkeys(separated.lists()), **separated.inputs.axes}
    known = {"mari.candidate_axis": json.dumps(axes), METADATA_USER: json.dumps(list(users))}
    if taken:
        known["mari.stacked_inputs"] = json.dumps(taken)
    for entry in [p for p in model.metadata_props if p.key in known or p.key == "mari.stacked_inputs"]:
        model.metadata_props.remove(entry)
    for key in sorted(known):
        model.metadata_props.add(key=key, value=known[key])
