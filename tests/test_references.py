"""The graphs written by hand say what the exports say whose weights they take."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from models import catalog
from models.catalog import Exported
from models.references import REFERENCES, Build
from tests.patterns.support import assert_valid, session

EXPORTS = {meta.name: meta for meta in catalog.exported()}
WAYS = [(EXPORTS[name], way, build) for name, ways in REFERENCES.items() for way, build in ways.items()]


@pytest.mark.parametrize(("meta", "way", "build"), WAYS, ids=lambda part: part if isinstance(part, str) else "")
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_scores_of_the_export(meta: Exported, way: str, build: Build, batch: int) -> None:
    model = build(meta)
    assert_valid(model)
    original, written = session(onnx.load(meta.path)), session(model)
    for seed in range(4):
        single, full = catalog.draw(meta, batch, seed)
        for want, got in zip(original.run(None, full), written.run(None, single), strict=True):
            assert (want.dtype, want.shape) == (got.dtype, got.shape)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6, err_msg=way)


def test_a_history_of_no_steps_weighs_all_of_them_the_same() -> None:
    meta = EXPORTS["din_dyn"]
    single, full = catalog.draw(meta, 3, seed=0)
    for feeds in (single, full):
        feeds["user_hist_len"][:] = 0
    (want,) = session(onnx.load(meta.path)).run(None, full)
    for build in REFERENCES["din_dyn"].values():
        (got,) = session(build(meta)).run(None, single)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_users_have_one_row() -> None:
    for meta, _, build in WAYS:
        rows = {v.name: v.type.tensor_type.shape.dim[0] for v in build(meta).graph.input}
        assert all(rows[name].dim_value == 1 for name in meta.user_inputs)
        assert all(rows[name].dim_param for name in meta.item_inputs)
