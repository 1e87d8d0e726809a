"""Small models, each of which is dear in its own way, and the time they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import parser

from mari_onnx.runtime import session

SIZES = (1, 8, 64, 512)
"""Numbers of rows."""
SECONDS = 0.02
"""For each sample."""
FEWEST_RUNS = 5


@dataclass(frozen=True)
class Sample:
    """One operator, or a chain of them.

    Attributes:
        name: What it is about.
        model: The operators; all inputs are of type float.
    """

    name: str
    model: onnx.ModelProto


def samples() -> Iterator[Sample]:
    """The models to time."""
    for count in (1, 10, 40):
        yield _chain(f"{count} operators", [("Neg", ""), ("Abs", "")] * count)
        yield _chain(f"{count} operators and views", [("Neg", ""), ("Reshape", ", flat")] * count)
    for count in (2, 20):
        pairs = " ".join(f"c{i} = Concat<axis = 1>(v{i}, x) v{i + 1} = MatMul(c{i}, w)" for i in range(count))
        given = f"float[1,8] x, float[16,8] w) => (float[1,8] v{count})"
        yield _sample(f"{count} small layers", f"{given} {{ v0 = Neg(x) {pairs} }}")
    for rows in SIZES:
        for k, n in ((256, 256), (64, 32), (1024, 64)):
            body = f"float[{rows},{k}] x, float[{k},{n}] w) => (float[{rows},{n}] y) {{ y = MatMul(x, w) }}"
            yield _sample(f"product of {rows} x {k} x {n}", body)
    for rows in (64, 512):
        yield _sample(
            f"{rows} products",
            f"float[{rows},16,8] x, float[{rows},8,16] w) => (float[{rows},16,16] y) {{ y = MatMul(x, w) }}",
        )
        yield _sample(
            f"{rows} large products",
            f"float[{rows},4,64] x, float[{rows},64,64] w) => (float[{rows},4,64] y) {{ y = MatMul(x, w) }}",
        )
        wide = f"float[{rows},50,8]"
        yield _sample(
            f"{rows} x 50 stretches", f"float[{rows},1,8] x, float[1,50,8] z) => ({wide} y) {{ y = Add(x, z) }}"
        )
        yield _sample(f"{rows} x 50 rows", f"float[{rows},50,8] x) => ({wide} y) {{ y = Softmax<axis = 2>(x) }}")
        axes = "<int64[1] axes = {1}>"
        yield _sample(
            f"{rows} groups", f"{wide} x) => (float[{rows},8] y) {axes} {{ y = ReduceSum<keepdims = 0>(x, axes) }}"
        )
        for width in (8, 256):
            part = f"float[{rows},{width}]"
            body = f"{part} x, {part} z) => (float[{rows},{2 * width}] y) {{ y = Concat<axis = 1>(x, z) }}"
            yield _sample(f"{rows} x 2 pieces of {width}", body)
        for op in ("Add", "Mul"):
            body = f"float[{rows},512] x, float[{rows},512] z) => (float[{rows},512] y) {{ y = {op}(x, z) }}"
            yield _sample(f"{op} of {rows} x 512", body)
        yield _sample(f"{rows} x 512 entries", f"float[{rows},512] x) => (float[{rows},512] y) {{ y = Sigmoid(x) }}")


def _sample(name: str, body: str) -> Sample:
    return Sample(name, parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> sample ({body}'))


def _chain(name: str, operators: list[tuple[str, str]]) -> Sample:
    values = ["x", *(f"v{index}" for index in range(len(operators) - 1)), "y"]
    lines = [f"{values[i + 1]} = {op}({values[i]}{more})" for i, (op, more) in enumerate(operators)]
    return _sample(name, f"float[8] x) => (float[8] y) <int64[1] flat = {{8}}> {{ {' '.join(lines)} }}")


def microseconds(model: onnx.ModelProto) -> float:
    """The median time of a run, on one thread and as the model is written."""
    random = np.random.default_rng(0)
    feeds = {
        value.name: random.random([d.dim_value for d in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
    }
    run = session(model, threads=1, optimized=False)
    run.run(None, feeds)
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < FEWEST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run.run(None, feeds)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6
