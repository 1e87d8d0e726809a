"""Timing alternatives: which results are made, and which one is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mari_onnx import tuning
from mari_onnx.load import load_model
from mari_onnx.options import Options
from mari_onnx.pipeline import Built, build, run
from mari_onnx.rewrite.registry import chosen_rules
from mari_onnx.tuning import AS_ESTIMATED, Tuned, tune
from tests import rankers
from tests.cli.conftest import cli  # noqa: F401  # a fixture

NO_RULES = "user branch once, no rules"
WITHOUT = "without split-product"
Speeds = Callable[[str, int], float]


def silent(text: str) -> None:
    """Progress for nobody."""


def tuned(monkeypatch: pytest.MonkeyPatch, speed: Speeds, numbers: Sequence[int], **options: Any) -> Tuned:
    """Tunes a small ranker on a machine where each result is as fast as ``speed`` says."""
    chosen = Options(user_inputs=["user_x"], tune=numbers, **options)
    loaded, rules = load_model(rankers.ranker()), chosen_rules(())
    first = build(loaded, chosen, rules)
    made = tuning._different(loaded, chosen, rules, first, silent)
    names = {id(built.model): name for name, (built, _) in made.items()}
    monkeypatch.setattr(tuning, "_different", lambda *args: made)

    def timed(original: Any, results: Sequence[Any], users: Any, candidates: int, *rest: Any) -> Any:
        times = [[100.0 / speed(names[id(model)], candidates)] for model in results]
        return candidates, [[100.0], *times]

    monkeypatch.setattr(tuning, "measure_all", timed)
    return tune(loaded, chosen, rules, first, silent)


def test_alternatives_differ_from_one_another() -> None:
    options, rules = Options(user_inputs=["user_x"]), chosen_rules(())
    loaded = load_model(rankers.ranker())
    found = tuning._different(loaded, options, rules, build(loaded, options, rules), silent)
    assert set(found) >= {AS_ESTIMATED, "without split-product"}
    structures = {tuning._key(built) for built, _ in found.values()}
    assert len(structures) == len(found)


def test_what_comes_out_without_rules_is_an_alternative() -> None:
    options, rules = Options(user_inputs=["user_x"]), chosen_rules(())
    variants = {name: used for name, _, used in tuning._variants(options, rules, any_built())}
    assert variants[NO_RULES] == []
    assert "split-product" not in {r.name for r in variants["without split-product"]}


def any_built() -> Built:
    return build(load_model(rankers.ranker()), Options(user_inputs=["user_x"]), chosen_rules(()))


def test_the_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuned(monkeypatch, lambda name, number: 3.0 if name == WITHOUT else 2.0, [512])
    assert found.chosen == WITHOUT
    assert found.alternatives[0].speedup == {512: 3.0}
    assert "split-product" not in {a.rule for a in found.built.rewritten.applied}
    assert found.options.disable == ["split-product"]


def test_within_the_noise_the_estimate_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuned(monkeypatch, lambda name, number: 2.01 if name == WITHOUT else 2.0, [512])
    assert found.chosen == AS_ESTIMATED


def test_one_that_is_slower_somewhere_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def speed(name: str, number: int) -> float:
        if name == WITHOUT:
            return 1.2
        return 3.0 if number == 512 else 0.8

    found = tuned(monkeypatch, speed, [1, 512])
    assert found.chosen == WITHOUT
    assert found.alternatives[0].slowest == 1.2
    assert tuned(monkeypatch, speed, [512]).chosen == AS_ESTIMATED


def test_where_each_is_slower_somewhere_large_requests_count_most(monkeypatch: pytest.MonkeyPatch) -> None:
    def speed(name: str, number: int) -> float:
        if name == WITHOUT:
            return 0.95 if number == 1 else 1.0
        return 3.0 if number == 512 else 0.8

    assert tuned(monkeypatch, speed, [1, 512]).chosen == AS_ESTIMATED


def test_all_are_tried_before_a_slower_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one that is nowhere slower comes last at the nominal number."""
    monkeypatch.setattr(tuning, "FINALISTS", 1)

    def speed(name: str, number: int) -> float:
        return 1.1 if name == WITHOUT else (2.0 if number == 512 else 0.5)

    assert tuned(monkeypatch, speed, [1, 512]).chosen == WITHOUT


def test_numbers_without_the_nominal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuned(monkeypatch, lambda name, number: 2.0, [4, 16])
    assert [set(a.speedup) for a in found.alternatives] == [{4, 16}] * len(found.alternatives)


# -- for real ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "SECONDS", 0.01)


def test_a_tuned_result_is_verified_and_says_what_was_timed(hasty: None) -> None:
    result = run(rankers.ranker(), Options(user_inputs=["user_x"], tune=(1, 4)))
    assert result.verification is not None
    assert result.verification.passed
    assert result.tuned is not None
    assert result.tuned.alternatives[0].name == result.tuned.chosen
    assert all(s > 0 for a in result.tuned.alternatives for s in a.speedup.values())
    assert run(rankers.ranker(), Options(user_inputs=["user_x"])).tuned is None


def test_with_external_data(hasty: None, tmp_path: Path) -> None:
    result = run(rankers.with_tables(tmp_path), Options(tune=(3,)))
    assert result.verification is not None
    assert result.verification.passed


def test_the_command(cli: Any, hasty: None, tmp_path: Path) -> None:  # noqa: F811
    path = rankers.save(rankers.ranker(), tmp_path / "m.onnx")
    done = cli("optimize", path, tmp_path / "o.onnx", "--user", "user_x", "--tune", "1,8", "-v")
    assert done.status == 0, done.err
    assert "tuned: " in done.out
    assert " at 1, " in done.out
    told = cli("optimize", path, tmp_path / "p.onnx", "--user", "user_x", "--tune", "--candidates", "16", "--json").json
    assert set(told["tuning"]["alternatives"][0]["speedup"]) == {"16"}
    assert cli("optimize", path, tmp_path / "q.onnx", "--user", "user_x", "--json").json["tuning"] is None


def test_numbers_that_are_none(cli: Any, tmp_path: Path) -> None:  # noqa: F811
    path = rankers.save(rankers.ranker(), tmp_path / "m.onnx")
    done = cli("optimize", path, tmp_path / "o.onnx", "--user", "user_x", "--tune", "0")
    assert done.status == 2
    assert not (tmp_path / "o.onnx").exists()
