"""Figures as text."""

from __future__ import annotations

import pytest

from mari_onnx.cli.tables import factor


@pytest.mark.parametrize(
    ("before", "after", "said"), [(0, 5, "new"), (5, 0, "all gone"), (4, 2, "2x less"), (2, 5, "2.5x more"), (0, 0, "")]
)
def test_how_many_times_less(before: float, after: float, said: str) -> None:
    assert factor(before, after) == said
