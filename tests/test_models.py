"""The committed exports are what their metadata says they are, and `draw` feeds them validly."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import mari_onnx
from models import ARCHITECTURES, KERAS, catalog, export, published_layer
from models.catalog import Exported, Feeds, Spec

MODELS = catalog.exported()
SEEDS = (0, 1, 2)
NUMPY_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool"}

each_model = pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)


@lru_cache
def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(meta: Exported, feeds: Feeds) -> list[np.ndarray]:
    outputs: list[np.ndarray] = session(meta.path).run(None, feeds)
    return outputs


def batches(meta: Exported) -> tuple[int, ...]:
    return (meta.fixed_batch,) if meta.fixed_batch else (1, 3)


def parts(meta: Exported, feeds: Feeds) -> Iterator[tuple[Spec, np.ndarray]]:
    """Each feature with its values, where a stacked matrix counts as its columns; the values are views."""
    for spec in meta.inputs:
        values = feeds[spec["name"]]
        for column in spec.get("columns", ()):
            yield column, values[:, column["start"] : column["end"]]
        if "columns" not in spec:
            yield spec, values


def distinct_items(meta: Exported, feeds: Feeds) -> int:
    """Few ids are drawn from small tables, so two rows may hold the same item."""
    columns = [values.reshape(len(values), -1) for spec, values in parts(meta, feeds) if spec["side"] == "item"]
    return len(np.unique(np.concatenate(columns, axis=1), axis=0))


# ------------------------------------------------------------- the files --


def test_each_architecture_is_there_from_all_its_exporters() -> None:
    of_torch = [f"{a}_{e}" for a in ARCHITECTURES for e in ("ts17", "dyn")]
    assert [meta.name for meta in MODELS] == sorted([*of_torch, *(f"{a}_tf17" for a in KERAS)])
    assert {path.stem for path in catalog.FOLDER.glob("*.onnx")} == {meta.name for meta in MODELS}


def test_files_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in catalog.FOLDER.iterdir()}
    assert max(sizes.values()) < 60_000, sizes
    assert sum(sizes.values()) < 2_600_000


@each_model
def test_checker_accepts(meta: Exported) -> None:
    onnx.checker.check_model(onnx.load(meta.path), full_check=True)


@each_model
def test_no_notes_of_the_exporter_are_left(meta: Exported) -> None:
    """They are stack traces, with the paths of the machine that exported."""
    model = onnx.load(meta.path)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b'File "' not in meta.path.read_bytes()


@each_model
def test_metadata_describes_the_inputs_of_the_graph(meta: Exported) -> None:
    declared = {i.name: (i.shape, NUMPY_TYPES[i.type]) for i in session(meta.path).get_inputs()}
    assert declared == {spec["name"]: (spec["shape"], spec["dtype"]) for spec in meta.inputs}


@each_model
def test_sides_follow_from_names(meta: Exported) -> None:
    single, _ = catalog.draw(meta, meta.fixed_batch or 3, 0)
    for spec, _ in parts(meta, single):
        assert spec["side"] == ("item" if spec["name"].startswith("item_") else "user")
        assert spec["name"].partition("_")[0] in {"user", "ctx", "item"}
    if meta.user_columns is None:
        assert {*meta.user_inputs, *meta.item_inputs} == set(single)
        assert meta.user_inputs
        assert meta.item_inputs
    else:
        (stacked,) = meta.inputs
        of_user = [range(c["start"], c["end"]) for c in stacked["columns"] if c["side"] == "user"]
        assert meta.user_columns == tuple(number for columns in of_user for number in columns)


# ----------------------------------------------------------- the command --


def test_export_says_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith("models.")]:
        monkeypatch.delitem(sys.modules, name)  # some may have found what is missing below
    for name in ("torch", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    command = importlib.import_module("models.export")
    assert command.main(["dcn", "keras_din", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert said.err.splitlines() == [
        "dcn_ts17: needs torch, which is not installed",
        "dcn_dyn: needs torch, which is not installed",
        "keras_din_tf17: needs keras, which is not installed",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wide_deeep"], "no such architecture: wide_deeep"),
        (["--size", "industrial"], "--size industrial needs --out"),
        (["keras_din", "--exporter", "ts"], "none of keras_din goes through ts"),
    ],
)
def test_export_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        export.main(arguments)
    assert message in capsys.readouterr().err


# -------------------------------------------------------------- the runs --


@each_model
@pytest.mark.parametrize("seed", SEEDS)
def test_runs_and_is_finite(meta: Exported, seed: int) -> None:
    for batch in batches(meta):
        _, full = catalog.draw(meta, batch, seed)
        for output in run(meta, full):
            assert output.shape[0] == batch
            assert np.isfinite(output).all()


@each_model
def test_items_and_users_change_the_score(meta: Exported) -> None:
    batch = meta.fixed_batch or 16
    requests = [catalog.draw(meta, batch, seed)[1] for seed in SEEDS]
    items = [distinct_items(meta, full) for full in requests]
    for outputs in zip(*(run(meta, full) for full in requests), strict=True):
        assert [len(np.unique(output)) for output in outputs] == items
        for output in outputs:
            assert output.std() > 1e-3
        assert np.std([output.mean() for output in outputs]) > 1e-3


@each_model
def test_rows_do_not_see_each_other(meta: Exported) -> None:
    batch = meta.fixed_batch or 3
    _, full = catalog.draw(meta, batch, 5)
    together = run(meta, full)
    for row in range(batch):
        copies = {name: np.repeat(values[row : row + 1], batch, axis=0) for name, values in full.items()}
        for expected, output in zip(together, run(meta, copies), strict=True):
            np.testing.assert_allclose(output, np.broadcast_to(expected[row], output.shape), rtol=1e-5, atol=1e-6)


@each_model
@pytest.mark.parametrize("end", ["first", "last"])
def test_ids_at_both_ends_of_their_range_are_in_the_tables(meta: Exported, end: str) -> None:
    _, full = catalog.draw(meta, meta.fixed_batch or 3, 0)
    for spec, values in parts(meta, full):
        if spec.get("range"):
            first, stop = spec["range"]
            assert 0 <= first < stop
            values[:] = first if end == "first" else stop - 1
    assert all(np.isfinite(output).all() for output in run(meta, full))


@each_model
def test_ids_past_their_range_are_not(meta: Exported) -> None:
    """Otherwise the test above shows nothing: the tables could be larger than the ranges say."""
    _, full = catalog.draw(meta, meta.fixed_batch or 3, 0)
    for spec, values in parts(meta, full):
        if spec.get("range"):
            values[:] = spec["range"][1]
    with pytest.raises(Exception, match="out of data bounds"):
        run(meta, full)


def test_the_student_scores_like_its_teacher() -> None:
    student, teacher = (next(m for m in MODELS if m.name == f"{name}_dyn") for name in ("student", "rankmixer"))
    assert 2 * student.path.stat().st_size < teacher.path.stat().st_size
    for seed in SEEDS:
        _, full = catalog.draw(student, 100, seed)
        assert np.corrcoef(run(student, full)[0], run(teacher, full)[0])[0, 1] > 0.6


# ------------------------------------------------------- the optimizer --

LEFT = {"separated_transformer": 0.3, "hstu": 0.1, "rankmixer_separated": 0.4}
"""At most this share of the FLOPs is left where the architecture keeps user tokens apart through all layers."""


@pytest.mark.parametrize("meta", [m for m in MODELS if m.name.rpartition("_")[0] in LEFT], ids=lambda meta: meta.name)
def test_tokens_of_the_user_run_once_through_all_layers(meta: Exported) -> None:
    result = mari_onnx.optimize(str(meta.path), list(meta.user_inputs), batches=(1, 2, 5), seeds=2)
    assert result.verification is not None
    assert result.verification.passed
    assert result.report.after.flops < LEFT[meta.name.rpartition("_")[0]] * result.report.before.flops


# ------------------------------------------------------------------ draw --


@each_model
def test_draw_gives_single_and_repeated_user_rows(meta: Exported) -> None:
    single, full = catalog.draw(meta, 4, 1)
    assert list(single) == list(full) == [spec["name"] for spec in meta.inputs]
    for spec in meta.inputs:
        name = spec["name"]
        assert single[name].dtype == full[name].dtype == np.dtype(spec["dtype"])
        assert full[name].shape == (4, *spec["shape"][1:])
        assert single[name].shape[0] == (1 if name in meta.user_inputs else 4)
        np.testing.assert_array_equal(np.broadcast_to(single[name], full[name].shape), full[name])
    for spec, values in parts(meta, full):
        if spec["side"] == "user":
            np.testing.assert_array_equal(values, np.broadcast_to(values[:1], values.shape))


@each_model
def test_draw_stays_in_range(meta: Exported) -> None:
    _, full = catalog.draw(meta, 50, 2)
    for spec, values in parts(meta, full):
        if spec.get("range"):
            first, stop = spec["range"]
            assert values.min() >= first
            assert values.max() < stop


@each_model
def test_draw_depends_on_the_seed_alone(meta: Exported) -> None:
    first, again, other = (catalog.draw(meta, 3, seed)[1] for seed in (7, 7, 8))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("pad_side", ["left", "right"])
def test_draw_pads_history_length_and_mask_alike(pad_side: str) -> None:
    padding = {"maxlen": 6, "group": "h", "pad_side": pad_side, "min_len": 2}

    def feature(name: str, dtype: str, shape: list[int], **gen: object) -> Spec:
        return {"name": name, "side": "item", "dtype": dtype, "shape": ["B", *shape], "gen": gen | padding}

    specs = (
        feature("item_hist", "int64", [6], kind="history", lo=1, hi=9, pad=0),
        feature("item_len", "int64", [], kind="length"),
        feature("item_mask", "float32", [6], kind="mask"),
        feature("item_padding", "bool", [6], kind="mask", invert=True),
    )
    meta = Exported("toy", Path("toy.onnx"), (), tuple(spec["name"] for spec in specs), None, specs)
    _, full = catalog.draw(meta, 40, 3)
    present = full["item_hist"] != 0
    np.testing.assert_array_equal(present.sum(axis=1), full["item_len"])
    np.testing.assert_array_equal(present, full["item_mask"] == 1)
    np.testing.assert_array_equal(present, ~full["item_padding"])
    assert full["item_len"].min() == 2
    assert present[:, -1 if pad_side == "left" else 0].all()


@pytest.mark.parametrize(
    ("gen", "lowest", "highest"),
    [({"kind": "uniform", "lo": 2.0, "hi": 3.0}, 2.0, 3.0), ({"kind": "const", "value": 4.0}, 4.0, 4.0)],
)
def test_draw_knows_the_kinds_no_export_uses(gen: Spec, lowest: float, highest: float) -> None:
    spec = {"name": "item_x", "side": "item", "dtype": "float32", "shape": ["B", 2], "gen": gen}
    _, full = catalog.draw(Exported("toy", Path("toy.onnx"), (), ("item_x",), None, (spec,)), 5, 0)
    assert full["item_x"].shape == (5, 2)
    assert lowest <= full["item_x"].min() <= full["item_x"].max() <= highest


# ------------------------------------------------------- published layer --


def test_published_layer_has_the_published_widths() -> None:
    model = published_layer.build(published_layer.Layer())
    widths = [i.type.tensor_type.shape.dim[1].dim_value for i in model.graph.input]
    assert widths == [200] * 20 + [20] * 20
    assert [list(t.dims) for t in model.graph.initializer] == [[4400, 256], [256]]
    assert [node.op_type for node in model.graph.node] == ["Concat", "Gemm", "Relu"]


def test_published_layer_computes_its_formula(tmp_path: Path) -> None:
    layer = published_layer.Layer.small()
    meta = published_layer.write(layer, tmp_path)
    assert meta == catalog.read(tmp_path / "published_layer.json")
    model = onnx.load(meta.path)
    onnx.checker.check_model(model, full_check=True)
    weight, bias = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer)
    for batch in (1, 3):
        _, full = catalog.draw(meta, batch, 0)
        (output,) = run(meta, full)
        x = np.concatenate([full[f"{side}{k}"] for k in range(layer.pieces) for side in "iu"], axis=1)
        np.testing.assert_allclose(output, np.maximum(x @ weight + bias, 0), rtol=1e-4, atol=1e-5)


def test_published_layer_refuses_pieces_of_unequal_width() -> None:
    with pytest.raises(ValueError, match="cannot both be cut into 3 equal pieces"):
        published_layer.Layer(pieces=3, user=9, item=4)
