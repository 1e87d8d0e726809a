"""([u, i] - o) s = [(u - o_u) s_u, (i - o_i) s_i]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "concat-scaler"
TEXT = """score (float[B,2] user, float[B,3] item) => (float[B,5] y) {{
    x = Concat<axis = 1>(item, user)
    y = ai.onnx.ml.{op}(x)
}}"""


@pytest.mark.parametrize(
    ("op", "attribute", "user", "item"),
    [
        ("Scaler <offset = [1.0, 2.0, 3.0, 4.0, 5.0], scale = [2.0, 3.0, 4.0, 5.0, 6.0]>", "scale", [5, 6], [2, 3, 4]),
        ("Scaler <offset = [1.0], scale = [2.0]>", "scale", [2], [2]),
        (
            "Imputer <imputed_value_floats = [1.0, 2.0, 3.0, 4.0, 5.0], replaced_value_float = 0.0>",
            "imputed_value_floats",
            [4, 5],
            [1, 2, 3],
        ),
    ],
)
def test_each_part_has_its_own_parameters(op: str, attribute: str, user: list[float], item: list[float]) -> None:
    outcome = apply(RULE, TEXT.format(op=op))
    assert outcome.times == 1
    name = op.split()[0]
    found = {tuple(a.floats) for n in outcome.of(name) for a in n.attribute if a.name == attribute}
    assert found == {tuple(user), tuple(item)}


@pytest.mark.parametrize(
    "text",
    [
        # Candidates side by side, each with its own scale.
        TEXT.replace("axis = 1", "axis = 0")
        .replace("user,", "user2,")
        .replace("float[B,2] user2, float[B,3] item", "float[1,2] user2, float[1,2] item")
        .replace("float[B,5] y", "float[2,2] y")
        .format(op="Scaler <offset = [1.0, 2.0], scale = [2.0, 3.0]>"),
        TEXT.replace("Concat<axis = 1>(item, user)", "Concat<axis = 1>(item, item)")
        .replace("[B,5]", "[B,6]")
        .format(op="Scaler <offset = [1.0], scale = [2.0]>"),
    ],
)
def test_nothing_of_both_sides(text: str) -> None:
    assert apply(RULE, text.replace("(item, user)", "(item, user2)")).times == 0
