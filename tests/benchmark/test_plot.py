from __future__ import annotations

import errno

import pytest

from mari_onnx import UsageError
from mari_onnx.benchmark import plot as plotting
from mari_onnx.benchmark.plot import check_plot, plot
from mari_onnx.benchmark.report import BenchReport, Machine, summarise


@pytest.fixture
def report() -> BenchReport:
    turns = {"vanilla": [2.0, 4.0], "one-shot": [2.0, 2.0], "full": [1.0, 1.0], "floor": [0.5, 1.0]}
    measured = [one for threads in (1, 4) for size in (1, 64) for one in summarise(turns, size, threads)]
    return BenchReport("cpu", Machine("a processor", 1, None, "1.0"), ("u",), tuple(turns), tuple(measured))


def test_svg_shows_all_sides_and_is_the_same_each_time(report, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        plot(report, str(tmp_path / name), "the title")
    text = (tmp_path / "a.svg").read_text()
    assert text.startswith("<?xml")
    for shown in (*report.sides, "the title", "milliseconds per request, 1 thread", "4 threads", "candidates", ">64<"):
        assert shown in text
    assert (tmp_path / "b.svg").read_text() == text


def test_png(report, tmp_path):
    pytest.importorskip("matplotlib")
    plot(report, str(tmp_path / "a.PNG"))
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_there_as_it_was_until_the_new_one_is_whole(report, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.svg"
    path.write_text("the old one")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match=r"--plot .*a\.svg: No space left on device"):
        plot(report, str(path))
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(plotting, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"plots need matplotlib: pip install 'mari-onnx\[plot\]'"):
        check_plot("a.svg")


def test_other_endings():
    with pytest.raises(UsageError, match=r"a\.pdf: a plot is a \.png or \.svg file"):
        check_plot("a.pdf")
