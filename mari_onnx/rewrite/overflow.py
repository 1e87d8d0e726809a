"""Constants that are worked out beforehand stay in the range of their type.

What is infinite in the model itself may be so in what is made of it; numbers that become infinite only because they
are multiplied or added before the rows come to them would be another model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from mari_onnx.errors import RuleError


@contextlib.contextmanager
def within_range() -> Iterator[None]:
    """Refuses arithmetic that makes an infinity of finite numbers; infinities and what is none stay without a word.

    Raises:
        RuleError: A number left the range of its type.
    """
    try:
        with np.errstate(all="ignore", over="raise"):
            yield
    except FloatingPointError:
        raise RuleError("a weight made of others leaves the range of its type") from None
