from __future__ import annotations

from pathlib import Path

from mari_onnx import demo


def test_it_optimizes_verifies_and_measures_and_keeps_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(demo, "LAYER_CANDIDATES", 50)
    here = Path.cwd()
    assert demo.main() == 0
    shown = capsys.readouterr().out
    assert shown.count("verified: 1 output") == 2
    assert shown.count("time per request") == 2
    assert "split-product" in shown
    assert list(tmp_path.glob("mari*")) == []
    assert Path.cwd() == here


def test_outside_a_checkout_it_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "CHECKOUT", tmp_path)
    assert demo.main() == 2
    assert "needs the models of a checkout" in capsys.readouterr().err
