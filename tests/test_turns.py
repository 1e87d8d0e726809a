"""Timing in turn: that no side has an advantage by where it stands. Nothing is asserted of how long anything takes."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest

from mari_onnx import turns


def sides(told: list[str], names: str, seconds: float = 0.0):
    """Sides that tell when they are loaded (in capitals) and when they run."""

    def loader(name):
        def load():
            told.append(name.upper())
            return lambda: (told.append(name), time.sleep(seconds))

        return load

    return [loader(name) for name in names]


def test_short_runs_count_the_second_time():
    called: list[str] = []
    times = turns.in_turn([lambda: called.append("a"), lambda: called.append("b")], seconds=1e-9)
    assert [len(own) for own in times] == [turns.FEWEST_TURNS] * 2
    assert Counter(called) == {"a": 2 * turns.FEWEST_TURNS, "b": 2 * turns.FEWEST_TURNS}


def test_long_runs_count_at_once(monkeypatch):
    monkeypatch.setattr(turns, "SMALL", -1.0)
    called: list[str] = []
    turns.in_turn([lambda: called.append("a")], seconds=1e-9)
    assert called == ["a"] * turns.FEWEST_TURNS


@pytest.mark.parametrize("count", [2, 3, 5])
def test_nobody_follows_himself_and_all_follow_all(count, monkeypatch):
    monkeypatch.setattr(turns, "SMALL", -1.0)
    monkeypatch.setattr(turns, "MOST_TURNS", 200)
    called: list[int] = []
    turns.in_turn([lambda index=index: called.append(index) for index in range(count)], seconds=10.0)
    assert Counter(called) == dict.fromkeys(range(count), 200)
    followed = Counter(pairwise(called))
    assert not any(a == b for a, b in followed)
    expected = 200 * count / len(followed)
    assert len(followed) == count * (count - 1)
    assert all(0.6 * expected < times < 1.4 * expected for times in followed.values())


def test_each_round_loads_anew_in_the_opposite_order():
    told: list[str] = []
    times = turns.in_rounds(sides(told, "abc"), seconds=0.4)
    loaded = "".join(name for name in told if name.isupper())
    assert loaded == ("ABC" + "CBA") * (turns.ROUNDS // 2)
    assert len({len(own) for own in times}) == 1


def test_all_take_their_memory_before_anything_is_timed():
    told: list[str] = []
    times = turns.in_rounds(sides(told, "abc"), seconds=0.4)
    assert "".join(told).startswith("AaBbCc")
    timed = 2 * sum(map(len, times))  # what is short is run once more
    assert len([name for name in told if name.islower()]) == timed + 3 * turns.ROUNDS
    assert len(times[0]) >= turns.FEWEST_TURNS * turns.ROUNDS


def test_what_takes_long_to_load_is_loaded_less_often():
    told: list[str] = []
    turns.in_rounds(sides(told, "ab"), seconds=0.0)
    assert "".join(name for name in told if name.isupper()) == "ABBA"


def test_a_side_that_cannot_be_loaded_has_no_times():
    told: list[str] = []
    good, bad = sides(told, "ab")
    times = turns.in_rounds([lambda: bad() and None, good], seconds=1e-3)
    assert times[0] == []
    assert len(times[1]) >= turns.FEWEST_TURNS * turns.ROUNDS_OF_HEAVY
    assert told.count("B") == 1


def test_a_side_that_cannot_be_loaded_a_second_time_has_no_times():
    told: list[str] = []
    a, b = sides(told, "ab")
    once = iter([b()])
    times = turns.in_rounds([a, lambda: next(once, None)], seconds=1e-3)
    assert times[1] == []
    assert times[0]


def test_the_sides_of_a_round_are_let_go_before_the_next(monkeypatch):
    alive: list[int] = []

    class Session:
        def __init__(self):
            alive.append(1)
            assert len(alive) <= 2

        def __del__(self):
            alive.pop()

        def __call__(self):
            return None

    turns.in_rounds([Session, Session], seconds=1e-3)
    assert not alive


def test_nothing_to_time():
    assert turns.in_rounds([], seconds=1.0) == []
    assert turns.in_rounds([lambda: None], seconds=1.0) == [[]]
