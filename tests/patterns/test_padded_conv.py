"""conv(pad(x)) = conv(x; pads)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "padded-conv"


def padded(pads: str, attrs: str = "", pad: str = "x, p", mode: str = "constant", **weights: Any) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,2,5] item) => (float[N,3,M] y) <float[3,2,3] w> {{
            x = Relu(item)
            p = Constant<value_ints = [{pads}]>()
            q = Pad<mode = "{mode}">({pad})
            y = Conv{attrs}(q, w)
        }}""",
        **weights,
    )


@pytest.mark.parametrize("attrs", ["", "<pads = [1, 0]>", "<dilations = [2]>", "<strides = [2], pads = [0, 3]>"])
def test_zeros_around(attrs: str) -> None:
    outcome = padded("0, 0, 2, 0, 0, 1", attrs)
    assert outcome.times == 1
    assert not outcome.of("Pad")


def test_a_zero_that_is_given() -> None:
    assert padded("0, 0, 2, 0, 0, 1", pad="x, p, zero", zero=np.float32(0)).times == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"pads": "0, 1, 0, 0, -1, 2"},
        {"pads": "0, 0, -1, 0, 0, 1"},
        {"pads": "0, 0, 2, 0, 0, 1", "mode": "edge"},
        {"pads": "0, 0, 2, 0, 0, 1", "pad": "x, p, one", "one": np.float32(1)},
        {"pads": "0, 0, 2, 0, 0, 1", "attrs": '<auto_pad = "SAME_UPPER">'},
    ],
    ids=str,
)
def test_other_padding(settings: dict[str, Any]) -> None:
    assert padded(**settings).times == 0
