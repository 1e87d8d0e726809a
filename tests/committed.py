"""The committed exports at work: optimized in some way, and judged by ONNX Runtime on the catalog's own requests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mari_onnx.load import Loaded, load_model
from mari_onnx.options import Options
from mari_onnx.pipeline import Built, build
from mari_onnx.rewrite.objective import LESS
from mari_onnx.rewrite.registry import AnyRule, all_rules
from models import catalog
from models.catalog import Exported, Feeds
from tests.patterns.support import assert_valid, session

MODELS = catalog.exported()


def _by_turns(turn: int) -> list[Exported]:
    """Each architecture as one of its exporters writes it, next ones from different exporters."""
    architectures: dict[str, list[Exported]] = {}
    for meta in MODELS:
        architectures.setdefault(meta.name.rpartition("_")[0], []).append(meta)
    return [exports[(place + turn) % len(exports)] for place, exports in enumerate(architectures.values())]


FIRST_HALF, OTHER_HALF = _by_turns(0), _by_turns(1)
"""For tests that take long: between them they meet every export."""


def users_of(meta: Exported) -> list[str]:
    """What ``--user`` says for a model."""
    if meta.user_columns is None:
        return list(meta.user_inputs)
    return [f"{meta.inputs[0]['name']}[:, {','.join(map(str, meta.user_columns))}]"]


def reads(graph: onnx.GraphProto) -> set[str]:
    """What a graph and the bodies in it read."""
    bodies = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    own = {v for node in graph.node for v in node.input} | {v.name for v in graph.output}
    return own.union(*map(reads, bodies))


@cache
def loaded(path: Path) -> Loaded:
    return load_model(path)


@cache
def expected(meta_path: Path, batch: int) -> list[np.ndarray]:
    """What the original says to a request."""
    meta = next(m for m in MODELS if m.path == meta_path)
    outputs: list[np.ndarray] = session(onnx.load(meta.path)).run(None, catalog.draw(meta, batch, seed=0)[1])
    return outputs


def batches_of(meta: Exported) -> tuple[int, ...]:
    return (meta.fixed_batch,) if meta.fixed_batch else (1, 3)


def request_for(meta: Exported, result: onnx.ModelProto, batch: int) -> Feeds:
    """The request as the result takes it: one row for each user input, a stacked matrix taken apart."""
    single = catalog.draw(meta, batch, seed=0)[0]
    if meta.user_columns is None:
        return single
    ((name, matrix),) = single.items()
    names = [v.name for v in result.graph.input]
    if names == [name]:
        return single
    others = [c for c in range(matrix.shape[1]) if c not in meta.user_columns]
    return {f"{name}_user": matrix[:1, list(meta.user_columns)], f"{name}_item": matrix[:, others]}


def options_for(meta: Exported, **others: Any) -> Options:
    return Options(user_inputs=users_of(meta), **others)


def built(
    meta: Exported,
    rules: Sequence[AnyRule] | None = None,
    limit: int | None = None,
    afterwards: Sequence[AnyRule] = (),
    less: float = LESS,
    **options: Any,
) -> Built:
    settings = options_for(meta, **options)
    chosen = all_rules() if rules is None else rules
    return build(loaded(meta.path), settings, chosen, limit, afterwards=afterwards, less=less)


@cache
def result_of(path: Path) -> Built:
    """What all rules make of an export; asked for again, it is the very same, so it must not be changed."""
    return built(next(m for m in MODELS if m.path == path))


def assert_right(meta: Exported, result: onnx.ModelProto, note: str = "") -> None:
    """Valid, the same outputs by name and type, and the same numbers up to the order of additions."""
    assert_valid(result)
    running = session(result)
    for batch in batches_of(meta):
        wanted = expected(meta.path, batch)
        found = running.run(None, request_for(meta, result, batch))
        for before, after in zip(wanted, found, strict=True):
            assert (before.dtype, before.shape) == (after.dtype, after.shape)
            np.testing.assert_allclose(after, before, rtol=2e-4, atol=2e-5, err_msg=f"B = {batch} {note}")
