"""Models with a BatchNormalization of four columns, and a rule at work on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.patterns.support import Outcome, apply

NORM = {
    "scale": np.array([1, -2, 3, 0.5], np.float32),
    "shift": np.array([0, 1, -1, 2], np.float32),
    "mean": np.array([1, 0, -2, 0.5], np.float32),
    "var": np.array([1, 4, 0.25, 0], np.float32),
}
PARAMETERS = "float[4] scale, float[4] shift, float[4] mean, float[4] var"


def normalised(rule: str, body: str, declared: str, *, opset: int = 17, item: str = "B,3", **weights: Any) -> Outcome:
    return apply(
        rule,
        f"""score (float[B,4] user, float[{item}] item) => (float[B,4] z) <{PARAMETERS}, {declared}> {{
            {body}
            z = Add(y, user)
        }}""",
        opset=opset,
        exact=False,
        **{**NORM, **weights},
    )


NORMALISE = "BatchNormalization(p, scale, shift, mean, var)"
