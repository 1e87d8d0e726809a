"""Times the published single layer: as exported, user branch once, split, and the item half alone.

`python -m models.measure_published` runs the four in turn on one thread, with inputs bound beforehand, and prints the
medians. "one-shot" is the hoist without any rule; "floor" is the item half with a constant for the user half.
Each turn begins with a run that does not count, so that a side finds its own weights in the caches, as it does where it
is served, and not what a side with 35 MB of intermediate values has left there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mari_onnx import optimize
from mari_onnx.rewrite.registry import all_rules
from mari_onnx.runtime import onnxruntime, session
from models.published_layer import Layer, build


def item_half(layer: Layer) -> onnx.ModelProto:
    """What is left when the user half costs nothing."""
    width = layer.item // layer.pieces
    names = [f"i{k}" for k in range(layer.pieces)]
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((layer.item, layer.out)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Concat", names, ["x"], axis=1),
            helper.make_node("Gemm", ["x", "weight", "user"], ["product"]),
            helper.make_node("Relu", ["product"], ["y"]),
        ],
        "item_half",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", width]) for n in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", layer.out])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.zeros((1, layer.out), np.float32), "user"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(layer: Layer, model: onnx.ModelProto, candidates: int) -> dict[str, np.ndarray]:
    """Random inputs with as many rows as the model declares, or as there are candidates."""
    rng = np.random.default_rng(1)
    result = {}
    for value in model.graph.input:
        rows, width = value.type.tensor_type.shape.dim
        result[value.name] = rng.standard_normal((rows.dim_value or candidates, width.dim_value)).astype(np.float32)
    return result


def bound(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> Callable[[], None]:
    """One run of a model on inputs that are in place already."""
    running = session(model, threads=1)
    binding = running.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime().OrtValue.ortvalue_from_numpy(array))
    binding.bind_output(running.get_outputs()[0].name)
    return lambda: running.run_with_iobinding(binding)


def medians(sides: Mapping[str, Callable[[], None]], runs: int) -> dict[str, float]:
    """Milliseconds of each side, run in turn; each of them is the first as often as the others."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(-3, runs):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            sides[name]()
            start = time.perf_counter()
            sides[name]()
            if number >= 0:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=31)
    args = parser.parse_args(argv)
    layer = Layer()
    original = build(layer)
    models = {
        "vanilla": original,
        "one-shot": optimize(original, ["u*"], disable=[r.name for r in all_rules()], verify=False).model,
        "split": optimize(original, ["u*"], batches=(1, 7), seeds=1).model,
        "floor": item_half(layer),
    }
    sides = {name: bound(model, feeds(layer, model, args.candidates)) for name, model in models.items()}
    taken = medians(sides, args.runs)
    for name, milliseconds in taken.items():
        print(f"{name:<9} {milliseconds:8.2f} ms  {taken['vanilla'] / milliseconds:6.2f}x over vanilla")
    print(f"split runs at {taken['floor'] / taken['split']:.2f} of the speed of the item half alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
