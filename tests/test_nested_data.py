"""Weights in files, of graphs inside nodes and of Constant nodes: taken, moved along and verified as any others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx.ir.external import is_external
from mari_onnx.load import load_model, tensors
from mari_onnx.nested_data import with_outer_data
from tests.analysis.support import parse

NUMBERS = "{" + ", ".join(str(k % 7 - 3) for k in range(16)) + "}"
WEIGHT = f"<float[4,4] w = {NUMBERS}>"
CONSTANT = f"w = Constant<value = float[4,4] {NUMBERS}>()"


def branch(declared: str, inside: str, result: str = "o") -> str:
    """An If over the user's row, one of whose branches has the weight."""
    return f"""g (float[B,4] u, float[B,4] i, bool c) => (float[B,8] y) {{
        a = If(c) <then_branch = t () => (float[B,4] o) {declared} {{ {inside} o = MatMul(u, w) }},
                   else_branch = e () => (float[B,4] q) {{ q = Neg(u) }}>
        y = Concat<axis = 1>(a, i)
    }}"""


MODELS = {
    "branch": branch(WEIGHT, ""),
    "constant in a branch": branch("", CONSTANT),
    "branch over items": branch(WEIGHT, "").replace("u, w", "i, w").replace("Neg(u)", "Neg(i)"),
    "constant": f"""g (float[B,4] u, float[B,4] i) => (float[B,8] y) {{
        {CONSTANT} a = MatMul(u, w) y = Concat<axis = 1>(a, i)
    }}""",
    "both branches, of one name": branch(WEIGHT, "")
    .replace("=> (float[B,4] q)", f"=> (float[B,4] q) {WEIGHT}")
    .replace("q = Neg(u)", "n = Neg(u) q = MatMul(n, w)"),
    "branch that is always taken": branch(WEIGHT, "")
    .replace(", bool c", "")
    .replace(
        "8] y) {", "8] y) <int64 four = {4}> { s = Shape<start = 1, end = 2>(u) n = Squeeze(s) c = Equal(n, four)"
    ),
    "the weight itself": f"""g (float[B,4] u, float[B,4] i, bool c) => (float[B,4] y) {{
        a = If(c) <then_branch = t () => (float[4,4] w) {WEIGHT} {{ unused = Neg(u) }},
                   else_branch = e () => (float[4,4] w) {{ {CONSTANT} }}>
        b = MatMul(u, a) y = Add(b, i)
    }}""",
    "scan": f"""g (float[B,3,4] u, float[B,4] i) => (float[B,4] y) <int64 zero = {{0}}> {{
        t = Transpose<perm = [1, 0, 2]>(u) start = Gather(t, zero)
        a = Scan<num_scan_inputs = 1, body = b (float[B,4] h, float[B,4] x) => (float[B,4] n) {WEIGHT} {{
            p = MatMul(h, w) s = Tanh(p) n = Add(s, x)
        }}>(start, t)
        y = Mul(a, i)
    }}""",
}


@pytest.fixture(params=MODELS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return written(parse(MODELS[request.param]), tmp_path)


def written(model: onnx.ModelProto, folder: Path) -> Path:
    """Saves a model with its matrices in a file of their own."""
    for tensor in tensors(model.graph):
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), name))
    folder.joinpath("in").mkdir()
    path = folder / "in" / "model.onnx"
    how = {"save_as_external_data": True, "convert_attribute": True, "location": "model.bin"}
    onnx.save_model(model, path, size_threshold=80, **how)
    assert any(is_external(t) for t in tensors(onnx.load(path, load_external_data=False).graph))
    return path


def test_results_have_their_data_beside_them(source: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("out").mkdir()
    for out in (source.with_name("result.onnx"), tmp_path / "out" / "result.onnx"):
        mari_onnx.optimize(source, user_inputs=["u"]).save(out)
        onnx.checker.check_model(out, full_check=True)
        assert mari_onnx.verify(source, out, batches=(1, 3)).passed
        data = load_model(out).model.graph.initializer
        assert all(out.with_name("model.bin").exists() for t in data if is_external(t))


def test_all_data_is_in_weights_of_the_main_graph(source: Path) -> None:
    model = load_model(source).model
    main = [t.name for t in model.graph.initializer if is_external(t)]
    assert main
    assert len(set(main)) == len(main) == sum(map(is_external, tensors(model.graph)))
    assert with_outer_data(model) is model


def test_names_that_are_taken(tmp_path: Path) -> None:
    text = MODELS["branch"].replace("a = If", '"w/data" = Neg(i) a = If').replace("(a, i)", '(a, "w/data")')
    path = written(parse(text), tmp_path)
    assert [t.name for t in load_model(path).model.graph.initializer] == ["w/data_1"]
    assert mari_onnx.optimize(path, user_inputs=["u"]).verification.passed


def test_weights_of_local_functions_may_not_lie_elsewhere_either(tmp_path: Path) -> None:
    model = parse(MODELS["constant"])
    np.zeros((4, 4), np.float32).tofile(tmp_path / "secret.bin")
    node = next(n for n in model.graph.node if n.op_type == "Constant")
    outside = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=(4, 4), data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../secret.bin")
    node.attribute[0].t.CopyFrom(outside)
    function = onnx.helper.make_function("own", "F", [], ["w"], [node], list(model.opset_import))
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    node.CopyFrom(onnx.helper.make_node("F", [], ["w"], domain="own"))
    folder = tmp_path / "in"
    folder.mkdir()
    folder.joinpath("model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(mari_onnx.ModelError, match="outside the folder of the model"):
        load_model(folder / "model.onnx")
