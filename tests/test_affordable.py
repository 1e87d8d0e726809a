"""How many candidates a large model is run with."""

import pytest

from mari_onnx import affordable as subject
from mari_onnx.affordable import affordable, spoken


class Clock:
    """Seconds that only pass in runs of a model, which takes so many for each candidate."""

    def __init__(self, pace: float) -> None:
        self.now, self.pace, self.runs = 0.0, pace, []

    def run(self, rows: int) -> None:
        self.runs.append(rows)
        self.now += rows * self.pace

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    def make(pace):
        made = Clock(pace)
        monkeypatch.setattr(subject, "time", made)
        return made

    return make


@pytest.mark.parametrize("wanted", [1, 2, 7, 64, 500, 4096])
def test_what_can_be_afforded_is_not_cut(clock, wanted):
    assert affordable(clock(1e-6).run, wanted, 1.0) == wanted


@pytest.mark.parametrize(("pace", "rows"), [(0.001, 512), (0.01, 64), (0.1, 8), (0.3, 2), (0.6, 1), (9.0, 1)])
def test_no_run_takes_longer_than_was_said(clock, pace, rows):
    made = clock(pace)
    assert affordable(made.run, 512, 1.0) == rows
    assert max(made.runs) <= max(1.0 / pace, 1)


def test_more_is_tried_where_a_run_fails(clock):
    def fails(rows):
        raise ValueError(rows)

    clock(1.0)
    assert affordable(fails, 512, 1.0) == 512


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (43.2, "43 s"), (89.0, "89 s"), (600.0, "10 min")])
def test_seconds_and_minutes(seconds, said):
    assert spoken(seconds) == said
