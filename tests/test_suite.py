"""The benchmark suite: that its models are what it says, and that what was measured is told. Nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from mari_onnx.benchmark.report import BenchReport, Machine, summarise
from mari_onnx.runtime import session
from models import catalog
from models.published_layer import Layer, build, inputs
from models.suite import __main__ as suite
from models.suite import rivals, studies
from models.suite.figures import Section, figures, place, read, write
from models.suite.layers import neat, piecewise, stacked

SMALL = Layer.small()


def feeds(layer: Layer, user_rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = {
        f.name: rng.normal(size=(1 if f.side == "user" else 3, *f.shape)).astype(np.float32) for f in inputs(layer)
    }
    return {n: np.repeat(a, user_rows, axis=0) if n.startswith("u") else a for n, a in drawn.items()}


@pytest.mark.parametrize(("other", "user_rows"), [(neat, 3), (piecewise, 1)])
def test_other_layouts_compute_the_same(other, user_rows):
    model = other(SMALL)
    onnx.checker.check_model(model, full_check=True)
    (wanted,) = session(build(SMALL), threads=1).run(None, feeds(SMALL, 3))
    (found,) = session(model, threads=1).run(None, feeds(SMALL, user_rows))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_neat_has_the_users_pieces_in_front():
    (concat,) = (node for node in neat(SMALL).graph.node if node.op_type == "Concat")
    assert "".join(name[0] for name in concat.input) == "u" * SMALL.pieces + "i" * SMALL.pieces


@pytest.mark.parametrize("depth", [1, 3])
def test_more_layers(depth):
    model = stacked(SMALL, depth)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node].count("Gemm") == depth
    assert session(model, threads=1).run(None, feeds(SMALL, 3))[0].shape == (3, 1)


def report(
    sides: tuple[str, ...] = ("vanilla", "one-shot", "full", "floor"), sizes: tuple[int, ...] = (1, 512)
) -> BenchReport:
    turns = {side: [8.0 / 2**index] * 3 for index, side in enumerate(sides)}
    measured = [one for size in sizes for one in summarise(turns, size, 1)]
    return BenchReport("cpu", Machine("a processor", 2, None, "1.0"), ("u",), sides, tuple(measured))


def test_models_that_are_not_measured_anew_stay():
    before = Section(
        "here", tuple(figures(report(), "a") + figures(report(), "b")), ("a: old", "b, 8 candidates: old", "b: old")
    )
    anew = Section("here", tuple(figures(report(sizes=(64,)), "b")), ("b: new",))
    joined = anew.with_others_of(before, ["b"])
    assert [(row.model, row.candidates) for row in joined.rows] == [("a", 1), ("a", 512), ("b", 64)]
    assert joined.notes == ("a: old", "b: new")
    assert Section("elsewhere", anew.rows).with_others_of(before, ["b"]).rows == anew.rows


def test_figures_survive_a_file(tmp_path):
    section = Section(place(report(), 1), tuple(figures(report(), "a model")), ("a note",))
    write(tmp_path / "sub" / "f.json", {"published": section})
    (found,) = read(tmp_path / "sub" / "f.json").values()
    assert found.machine == "cpu on 1 thread of a processor, 2 cores, ONNX Runtime 1.0"
    assert [(row.model, row.candidates, row.x) for row in found.rows] == [("a model", 1, 1), ("a model", 512, 512)]
    assert found.rows[0].median("full") == 2000.0
    assert found.rows[0].ratio("full", "one-shot") == 2.0
    assert found.rows[0].ratio("full", "nothing") is None
    assert found.rows[0].of_floor["full"] == 0.5
    assert [row.candidates for row in found.at(512)] == [512]
    assert read(tmp_path / "none.json") == {}


def test_the_document_has_all_sections(tmp_path):
    pytest.importorskip("matplotlib")
    from models.suite import document

    rows = tuple(figures(report(), "b")) + tuple(figures(report((*report().sides, "onnxsim")), "c"))
    fixed = tuple(figures(report(sizes=(7,)), "fixed"))
    sections = {name: Section("here", rows) for name in document.STUDIES}
    document.write({"industrial": Section("here", rows + fixed, ("said",)), **sections}, tmp_path, "benchmarks")
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.count("\n## ") == 2 + len(document.STUDIES)
    assert "| over vanilla, 512 candidates, geometric mean | 4.00x |" in text
    assert "| over one-shot, 512 candidates, geometric mean | 2.00x |" in text
    assert "| `fixed` | 8e+03 | 4e+03 | 2e+03 | 1e+03 | 4.00x | 2.00x | 0.50 |" in text
    assert "- said" in text
    for name in ("industrial", "candidates", *document.STUDIES):
        assert f"(benchmarks/{name}.svg)" in text
        assert (tmp_path / "benchmarks" / f"{name}.svg").is_file()


def test_a_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(studies, "Layer", Layer.small)
    monkeypatch.setattr(studies, "SIZES", (1, 2))
    monkeypatch.setattr(rivals, "TOOLS", ())
    monkeypatch.setattr(rivals, "has_torch", lambda: False)
    options = ["--seconds", "0.01", "--out", str(tmp_path)]
    assert suite.main(["--only", "published", *options]) == 0
    small = [str(catalog.FOLDER), "--models", "two_tower_dyn", "--candidates", "2,512"]
    assert suite.main([*small, "--only", "industrial", *options]) == 0
    kept = json.loads((tmp_path / "benchmarks" / "figures.json").read_text())
    assert set(kept) == {"published", "industrial"}
    assert [row["candidates"] for row in kept["industrial"]["rows"]] == [2, 512]
    assert set(kept["published"]["rows"][0]["times"]) == {"vanilla", "one-shot", "full", "floor"}
    text = (tmp_path / "benchmarks.md").read_text()
    assert "## The published layer" in text
    assert "`two_tower_dyn`" in text
    assert capsys.readouterr().out.endswith("benchmarks.md\n")


def test_graphs_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "find_spec", lambda name: object())
    chosen = ["--only", "by-hand", "--models", "d[il]*_dyn", "--seconds", "0.01", "--out", str(tmp_path)]
    assert suite.main([str(catalog.FOLDER), *chosen]) == 0
    rows = json.loads((tmp_path / "benchmarks" / "figures.json").read_text())["by-hand"]["rows"]
    assert {row["model"] for row in rows} == {"din_dyn", "dlrm_dyn"}
    assert all({"vanilla", "full", "by hand"} <= set(row["times"]) for row in rows)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| full over by hand | full over by hand, otherwise |" in text
    assert "din_dyn, by hand, otherwise: padding cut off" in text


def test_the_layouts_are_compared_in_one_run():
    contest = studies._layouts(SMALL)
    assert list(contest.models) == ["one-shot", "full", "neat, vanilla", "neat, full", "by piece"]


def test_what_is_not_installed_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    assert rivals.simplified("onnxsim", tmp_path / "a.onnx", tmp_path) == (None, "")
    assert not rivals.has_torch()


def test_a_tool_that_fails_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "find_spec", lambda name: object())
    path, problem = rivals.simplified("no_such_tool", tmp_path / "a.onnx", tmp_path)
    assert path is None
    assert "no_such_tool" in problem


@pytest.mark.parametrize(
    "wrong",
    [
        ["--only", "nothing"],
        [],
        ["."],
        [str(catalog.FOLDER), "--candidates", "x"],
        ["--only", "published", "--seconds", "0"],
        ["--only", "published", "--provider", "abacus"],
    ],
)
def test_wrong_usage_is_status_2(wrong, monkeypatch, capsys):
    monkeypatch.setattr(suite, "find_spec", lambda name: object())
    with pytest.raises(SystemExit) as left:
        suite.main(wrong)
    assert left.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_folder_of_the_docs():
    assert Path(__file__).resolve().parents[1] / "docs" == suite.DOCS
