"""Figures as text."""

from __future__ import annotations

import pytest

from mari_onnx.cli.tables import console, factor, table

COLUMNS = ("rule", "times saved", "reason", "")
ROWS = [("split-product", "12.5 us", "it pays more", "exact"), ("views", "", "does not pay", "")]


@pytest.mark.parametrize(
    ("before", "after", "said"), [(0, 5, "new"), (5, 0, "all gone"), (4, 2, "2x less"), (2, 5, "2.5x more"), (0, 0, "")]
)
def test_how_many_times_less(before: float, after: float, said: str) -> None:
    assert factor(before, after) == said


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            60,
            [
                "rule           times saved  reason        ",
                "split-product      12.5 us  it pays more  exact",
                "views                       does not pay",
            ],
        ),
        (
            39,
            [
                "                 times",
                "rule             saved  reason",
                "split-product  12.5 us  it pays  exact",
                "                        more",
                "views                   does",
                "                        not pay",
            ],
        ),
        (
            20,
            [
                "rule: split-product",
                "  times saved: 12.5 us",
                "  reason: it pays more",
                "  exact",
                "rule: views",
                "  reason: does not pay",
            ],
        ),
    ],
)
def test_words_are_never_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, lines: list[str]
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    table(console(), COLUMNS, ROWS, numbers=(1,))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [line.rstrip() for line in lines]
