"""A GatherND with one number for each row is a Gather before anything else is done."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, parse

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def operators(text: str, **weights: np.ndarray) -> list[str]:
    """The operators of the graph that is analysed."""
    return [n.op for n in analyze(parse(text, **weights)).network if isinstance(n, Node)]


@pytest.mark.parametrize(("ids", "rows"), [("int64[B,1]", "B,3"), ("int64[B,5,1]", "B,5,3")])
def test_rows_of_a_table(ids: str, rows: str) -> None:
    text = f"""g (float[B,3] u, {ids} i) => (float[{rows}] y, float[B,3] v) {{
        y = GatherND(table, i) v = Neg(u) }}"""
    assert "GatherND" not in operators(text, table=TABLE)
    assert_right(parse(text, table=TABLE))


def test_constant_rows() -> None:
    text = """g (float[B,3] u, float[B,3] i) => (float[B,3] y) {
        t = Transpose(u) g = GatherND(t, rows) r = Transpose(g) y = Mul(r, i) }"""
    rows = np.array([[2], [0], [1]])
    assert "GatherND" not in operators(text, rows=rows)
    assert_right(parse(text, rows=rows))


@pytest.mark.parametrize(
    "text",
    [
        """g (float[B,3] u, int64[B,2] i) => (float[B] y, float[B,3] v) { y = GatherND(table, i) v = Neg(u) }""",
        """g (float[B,3] u, int64[B,1] i) => (float[B] y) { y = GatherND<batch_dims = 1>(u, i) }""",
    ],
)
def test_other_lookups_stay(text: str) -> None:
    used = {"table": TABLE} if "table" in text else {}
    assert "GatherND" in operators(text, **used)
    assert_right(parse(text, **used))
