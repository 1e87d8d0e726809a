"""Every test case of the ONNX standard, with some of its inputs called user-side: right, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soundness.node_cases import Tally, cases_by_operator, judge, trials

CHUNK = 12
"""Cases per test, so that operators with many cases are spread over the workers."""


def chunks() -> list[Any]:
    return [
        pytest.param(cases[start : start + CHUNK], id=f"{operator}-{start // CHUNK}" if start else operator)
        for operator, cases in cases_by_operator().items()
        for start in range(0, len(cases), CHUNK)
    ]


@pytest.mark.parametrize("cases", chunks())
def test_result_equals_the_original_or_is_refused(cases: list[Any]) -> None:
    tally = Tally()
    for case in cases:
        for trial in trials(case):
            judge(trial, tally)
    assert not tally.wrong


def test_most_are_optimized_not_refused() -> None:
    tally = Tally()
    for cases in cases_by_operator().values():
        for case in cases[::12]:
            for trial in trials(case):
                judge(trial, tally)
    assert tally.counts["optimized"] > 1000
    assert tally.share > 0.7, tally.counts
