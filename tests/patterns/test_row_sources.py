"""Where rows lie in what they are cut out of or joined of."""

from __future__ import annotations

import pytest

from mari_onnx.patterns._row_sources import RowSources
from tests.patterns.support import at_work, model_of, sides_of

FOLLOWED = {
    "y = Concat<axis=1>(empty, item_x, empty, far_x)": [("item_x", 0), ("item_x", 1), ("far_x", 0), ("far_x", 1)],
    "y = Gather<axis=1>(item_x, picked)": [("item_x", 1), ("item_x", 0), ("item_x", 1)],
    "y = Slice(item_x, last, far, one)": [("item_x", 1)],
    "x, y = Split<axis=1>(item_x, ones)": [("item_x", 1)],
}
NOT_FOLLOWED = [
    "y = Concat<axis=2>(user, item_x)",
    "y = Gather<axis=2>(item_x, picked)",
    "y = Slice(item_x, one, far, two)",
    "y = Split<axis=2, num_outputs=1>(item_x)",
    "y = Relu(item_x)",
]


def sources(body: str, rows: int) -> list[tuple[str, int] | None]:
    """Where the first *rows* rows of `y` lie, as the body says."""
    model = model_of(f"""score
        (float[B,2,4] user, float[B,2,4] item_x, float[B,2,4] far_x, float[B,0,4] empty) => (y)
        <int64[3] picked = {{1, 0, -1}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] last = {{-1}},
        int64[1] far = {{9}}, int64[2] ones = {{1, 1}}> {{ {body} }}""")
    work = at_work(model, sides_of(model))
    node = work.graph.producer("y")
    assert node is not None
    found = RowSources(work)
    return [found.of(node, "y", row) for row in range(rows)]


@pytest.mark.parametrize("body", FOLLOWED)
def test_rows_that_are_followed(body: str) -> None:
    assert sources(body, len(FOLLOWED[body])) == FOLLOWED[body]


@pytest.mark.parametrize("body", NOT_FOLLOWED)
def test_rows_that_are_not(body: str) -> None:
    assert sources(body, 1) == [None]
