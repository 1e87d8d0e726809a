"""Prices of a machine: the fit, the samples, and the file they are kept in."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mari_onnx.analysis import Inputs, analyze_graph
from mari_onnx.calibration import PRICES, cache, cached_prices, calibrate, machine_prices
from mari_onnx.calibration.fit import RATES
from mari_onnx.calibration.samples import Sample, microseconds, samples
from mari_onnx.ir import read_graph
from mari_onnx.rewrite.cost import CostModel, node_cost
from tests.cli.conftest import cli  # noqa: F401  # a fixture

RUN = 4.0
"""Microseconds that a run takes beside its operators."""


def timed_with(prices: CostModel) -> Callable[[Sample], float]:
    """A machine on which the model is right."""

    def measure(sample: Sample) -> float:
        graph = read_graph(sample.model)
        facts = analyze_graph(graph, Inputs({}, {}, None)).facts
        return RUN + sum(node_cost(n, facts, prices) for n in graph.nodes)

    return measure


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "cache_file", lambda: tmp_path / "here" / "prices.json")
    return tmp_path / "here"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine is timed: one on which everything takes half as long."""
    usual = CostModel()
    fast = replace(usual, **{n: getattr(usual, n) * (2 if n in RATES else 0.5) for n in PRICES})
    monkeypatch.setattr(cache, "calibrate", lambda progress=None: calibrate(timed_with(fast)))


@pytest.mark.parametrize(
    "changed", ["launch", "launch_view", "flops", "stretch", "row", "group", "moved", "matrix", "packed"]
)
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_the_fit_finds_the_prices_of_a_machine(changed: str, factor: float) -> None:
    usual = CostModel()
    other = replace(usual, **{changed: getattr(usual, changed) * factor})
    found = calibrate(timed_with(other))
    assert getattr(found.prices, changed) == pytest.approx(getattr(other, changed), rel=0.25)
    assert found.error_after < 0.03


def test_on_the_usual_machine_the_usual_prices_are_found() -> None:
    found = calibrate(timed_with(CostModel()))
    assert [getattr(found.prices, n) for n in PRICES] == pytest.approx(
        [getattr(CostModel(), n) for n in PRICES], rel=0.01
    )


def test_prices_stay_positive_whatever_is_measured() -> None:
    times = itertools.cycle([0.5, 3000.0, 1.0, 7.0])
    found = calibrate(lambda sample: next(times))
    assert all(0 < getattr(found.prices, name) < float("inf") for name in PRICES)


def test_each_price_is_paid_by_a_sample() -> None:
    """What no sample pays, no sample tells."""
    usual = timed_with(CostModel())
    for name in PRICES:
        dear = timed_with(replace(CostModel(), **{name: getattr(CostModel(), name) * 3}))
        assert any(dear(s) != usual(s) for s in samples()), name


def test_samples_run() -> None:
    taken = list(samples())
    assert len({s.name for s in taken}) == len(taken)
    for sample in taken[:: len(taken) // 4]:
        assert microseconds(sample.model) > 0


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    calibrate(timed_with(CostModel()), lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(len(list(samples()))))
    assert {total for _, total in seen} == {len(seen)}


# -- the file ----------------------------------------------------------------------------------------------------------


def test_measured_once_and_kept(folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached_prices() is None
    first = machine_prices()
    assert first.launch < CostModel().launch
    monkeypatch.setattr(cache, "calibrate", lambda progress=None: pytest.fail("it was kept"))
    assert machine_prices() == first
    assert [p.name for p in folder.iterdir()] == ["prices.json"]


def test_prices_of_another_machine_are_not_taken(folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_prices()
    monkeypatch.setattr(cache, "machine", lambda: "another one")
    assert cached_prices() is None
    machine_prices()
    assert len(json.loads((folder / "prices.json").read_text())) == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"HERE": {}}', '{"HERE": 3}', '{"HERE": {"launch": "x"}}'])
def test_what_cannot_be_read_is_measured_anew(text: str, folder: Path, quick: None) -> None:
    folder.mkdir()
    (folder / "prices.json").write_text(text.replace("HERE", cache.machine()))
    assert cached_prices() is None
    assert machine_prices() == cached_prices()


def test_impossible_prices_are_not_taken(folder: Path, quick: None) -> None:
    known = {name: getattr(CostModel(), name) for name in PRICES}
    folder.mkdir()
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        (folder / "prices.json").write_text(json.dumps({cache.machine(): {**known, "flops": wrong}}))
        assert cached_prices() is None


def test_a_disk_that_is_full_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(os, "replace", full)
    assert not cache.keep(CostModel())
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache, "cache_file", lambda: tmp_path / "file" / "prices.json")
    assert not cache.keep(CostModel())
    assert machine_prices().launch < CostModel().launch


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own for commands, as the environment names it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_calibrate_and_use_it(cli: Any, home: Path) -> None:  # noqa: F811
    done = cli("calibrate", "--json")
    assert done.status == 0, done.err
    assert set(done.json["prices"]) == set(PRICES)
    assert Path(done.json["file"]).is_file()
    assert "kept in" in cli("calibrate").out
    path = Path(__file__).parent.parent / "models" / "onnx" / "student_dyn.onnx"
    told = cli("explain", path, "--user", "user_*", "--calibrated", "--json")
    assert told.status == 0, told.err
    usual = cli("explain", path, "--user", "user_*", "--json").json
    assert told.json["report"]["before"]["microseconds"] != usual["report"]["before"]["microseconds"]
