"""The single layer that published results on request-shared MatMuls measure, written by hand: no exporter, no PyTorch.

Relu(Gemm(Concat(i0, u0, i1, u1, ...), W, b)): 20 user pieces (4,000 wide in all) and 20 item pieces (400 wide) by
turns, 256 out; 10.95 times fewer FLOPs when the user's half runs once. At full size the file has 4.5 MB, so it is
made where it is needed: `python -m models.published_layer DIR`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models import catalog
from models._features import Feature, metadata

OPSET = 17
SEED = 20
OUTPUT = "y"


@dataclass(frozen=True)
class Layer:
    """Widths; the defaults are the published ones. `user` and `item` are totals over all pieces."""

    pieces: int = 20
    user: int = 4_000
    item: int = 400
    out: int = 256

    def __post_init__(self) -> None:
        if self.user % self.pieces or self.item % self.pieces:
            raise ValueError(f"{self.user} and {self.item} cannot both be cut into {self.pieces} equal pieces")

    @classmethod
    def small(cls) -> Layer:
        """The same graph, 20 times narrower."""
        return cls(user=200, item=20, out=16)


def inputs(layer: Layer) -> tuple[Feature, ...]:
    """u0, u1, ..., then i0, i1, ..."""

    def pieces(prefix: str, side: str, width: int) -> list[Feature]:
        shape = (width // layer.pieces,)
        return [Feature(f"{prefix}{k}", side, "float32", shape, {"kind": "normal"}) for k in range(layer.pieces)]

    return (*pieces("u", "user", layer.user), *pieces("i", "item", layer.item))


def build(layer: Layer) -> onnx.ModelProto:
    """The graph, with weights scaled so that outputs are about 1."""
    rng = np.random.default_rng(SEED)
    width = layer.user + layer.item
    weight = rng.normal(0.0, width**-0.5, (width, layer.out)).astype(np.float32)
    bias = rng.normal(0.0, 0.1, layer.out).astype(np.float32)
    by_turns = [name for k in range(layer.pieces) for name in (f"i{k}", f"u{k}")]
    nodes = [
        helper.make_node("Concat", by_turns, ["x"], name="concat", axis=1),
        helper.make_node("Gemm", ["x", "weight", "bias"], ["h"], name="gemm"),
        helper.make_node("Relu", ["h"], [OUTPUT], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "published_layer",
        [helper.make_tensor_value_info(i.name, TensorProto.FLOAT, ["B", *i.shape]) for i in inputs(layer)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", layer.out])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def write(layer: Layer, folder: Path, name: str = "published_layer") -> catalog.Exported:
    """Write the model and its metadata into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    onnx.save(build(layer), path)
    meta = metadata(
        name, inputs(layer), (OUTPUT,), source="models/published_layer.py", exporter="onnx.helper", opset=OPSET
    )
    path.with_suffix(".json").write_text(json.dumps(meta, indent=1) + "\n")
    return catalog.parse(meta, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m models.published_layer", description="Write the published layer.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    for name in ("pieces", "user", "item", "out"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Layer, name))
    options = parser.parse_args(argv)
    try:
        layer = Layer(options.pieces, options.user, options.item, options.out)
    except ValueError as error:
        parser.error(str(error))
    written = write(layer, options.folder)
    print(f"{written.path}: {written.path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
