"""Rules that follow single rows, on graphs that cut, join, multiply and lay out rows and columns at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.patterns.support import apply, rule_named

RULES = [rule_named(name) for name in ("gated-fields", "common-factor")]
SEEDS = 40
OUT = 3

Sizes = tuple[int, ...]
"""Those behind the candidates."""


@dataclass
class Draft:
    """A graph in the making: columns, or rows of columns, of each candidate."""

    random: Random
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    sizes: dict[str, Sizes] = field(default_factory=dict)

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def numbers(self, *numbers: int) -> str:
        return self.weight(np.array(numbers, np.int64))

    def matrix(self, *shape: int) -> str:
        rng = np.random.default_rng(self.random.randrange(99))
        return self.weight(rng.integers(-2, 3, shape).astype(np.float32))

    def add(self, op: str, inputs: list[str], sizes: Sizes, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attrs))
        self.sizes[name] = sizes
        return name

    def like(self, value: str, but: int | None = None) -> list[str]:
        """Values that broadcast with one; or have its sizes, those along one axis aside."""
        own = self.sizes[value]
        fits: Callable[[int, int, int], bool] = (
            (lambda _, a, b: a == b or 1 in (a, b)) if but is None else (lambda axis, a, b: a == b or axis == but)
        )
        return [
            v
            for v, other in self.sizes.items()
            if len(other) == len(own) and all(fits(k, a, b) for k, (a, b) in enumerate(zip(own, other, strict=True)))
        ]


def multiplied(d: Draft, value: str) -> None:
    other = d.random.choice(d.like(value))
    sizes = tuple(max(a, b) for a, b in zip(d.sizes[value], d.sizes[other], strict=True))
    d.add("Mul", d.random.sample([value, other], 2), sizes)


def layer(d: Draft, value: str) -> None:
    *rows, width = d.sizes[value]
    d.add("MatMul", [value, d.matrix(width, 2)], (*rows, 2))


def sliced(d: Draft, value: str) -> None:
    count, *rest = d.sizes[value]
    start = d.random.randrange(count)
    end = d.random.randint(start + 1, count)
    d.add("Slice", [value, d.numbers(start), d.numbers(end), d.numbers(1)], (end - start, *rest))


def picked(d: Draft, value: str) -> None:
    count, *rest = d.sizes[value]
    entries = [d.random.randrange(-count, count) for _ in range(d.random.randint(1, 3))]
    if rest and d.random.random() < 0.3:
        d.add("Gather", [value, d.weight(np.array(entries[0]))], tuple(rest), axis=1)
    else:
        d.add("Gather", [value, d.numbers(*entries)], (len(entries), *rest), axis=1)


def joined(d: Draft, value: str) -> None:
    axis = d.random.randrange(len(d.sizes[value]))
    parts = [value, d.random.choice(d.like(value, but=axis))]
    sizes = list(d.sizes[value])
    sizes[axis] = sum(d.sizes[part][axis] for part in parts)
    d.add("Concat", parts, tuple(sizes), axis=axis + 1)


def laid_out(d: Draft, value: str) -> str:
    """Rows side by side, or columns as rows."""
    first, *rest = d.sizes[value]
    if rest:
        return d.add("Reshape", [value, d.numbers(0, -1)], (first * rest[0],))
    rows = d.random.choice([n for n in range(1, first + 1) if first % n == 0])
    return d.add("Reshape", [value, d.numbers(0, rows, -1)], (rows, first // rows))


STEPS = [multiplied, multiplied, multiplied, layer, sliced, picked, joined, laid_out]


def model(random: Random) -> onnx.ModelProto:
    """A graph of some steps, and layers over what they make."""
    d, width, rows = Draft(random), random.randint(2, 4), random.randint(1, 3)
    d.sizes |= {"user": (rows, width), "user_b": (width,), "user_c": (2 * width,)}
    d.sizes |= {"item": (rows, 1), "item_b": (1,), "item_c": (width,), "item_d": (rows, width), "item_e": (2 * width,)}
    inputs = [helper.make_tensor_value_info(v, TensorProto.FLOAT, ["B", *s]) for v, s in d.sizes.items()]
    for _ in range(random.randint(6, 20)):
        value = random.choice(list(d.sizes))
        if np.prod(d.sizes[value]) <= 24:
            random.choice(STEPS)(d, value)
    scores = [_score(d) for _ in range(3)]
    outputs = [helper.make_tensor_value_info(v, TensorProto.FLOAT, ["B", OUT]) for v in scores]
    graph = helper.make_graph(d.nodes, "g", inputs, outputs, d.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _score(d: Draft) -> str:
    chosen = [d.random.choice(list(d.sizes)) for _ in range(d.random.randint(1, 4))]
    flat = [value if len(d.sizes[value]) == 1 else laid_out(d, value) for value in chosen]
    total = sum(d.sizes[value][0] for value in flat)
    whole = d.add("Concat", flat, (total,), axis=1) if len(flat) > 1 else flat[0]
    if d.random.random() < 0.5:
        return d.add("MatMul", [whole, d.matrix(total, OUT)], (OUT,))
    return d.add("Gemm", [whole, d.matrix(OUT, total), d.matrix(OUT)], (OUT,), transB=1)


@pytest.mark.parametrize("share", range(4))
def test_whatever_is_done_to_rows(share: int) -> None:
    applied = 0
    for seed in range(share * SEEDS, (share + 1) * SEEDS):
        outcome = apply(RULES, model(Random(seed)), exact=False)
        assert not any(reason.startswith("internal error") for reason in outcome.reasons), seed
        applied += outcome.times
    assert applied > SEEDS / 8
