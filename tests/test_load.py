"""What `load_model` gives; what it refuses is tested where users meet it, in tests/cli/test_cli_bad_input.py."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mari_onnx import ModelError
from mari_onnx.ir.external import Place, byte_size, read_external
from mari_onnx.load import load_model, without_external_data
from tests import rankers


def test_a_path_and_an_object_are_the_same_model(tmp_path):
    model = rankers.ranker()
    path = rankers.save(model, tmp_path / "m.onnx")
    by_path, by_object = load_model(path), load_model(model)
    assert by_path.model == by_object.model
    assert by_object.model is model
    assert (by_path.folder, by_object.folder) == (tmp_path, None)
    assert by_path.source == path


def test_what_has_been_read_is_not_read_again(tmp_path):
    loaded = load_model(rankers.save(rankers.ranker(), tmp_path / "m.onnx"))
    assert load_model(loaded) is loaded


def test_the_folder_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    rankers.with_tables(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert load_model("in/model.onnx").folder == tmp_path / "in"


def test_external_weights_are_not_read(tmp_path):
    loaded = load_model(rankers.with_tables(tmp_path, rows=1 << 22))
    assert loaded.model.ByteSize() < 1 << 16


def test_functions_are_inlined_and_the_callers_model_is_not_changed():
    model = rankers.ranker()
    body = [helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(
        helper.make_function("local", "Activate", ["x"], ["y"], body, [helper.make_opsetid("", 17)], [])
    )
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[2].CopyFrom(helper.make_node("Activate", ["h"], ["r"], domain="local"))
    loaded = load_model(model)
    assert not loaded.model.functions
    assert "Relu" in [n.op_type for n in loaded.model.graph.node]
    assert len(model.functions) == 1


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "INT64", "BOOL", "DOUBLE", "INT4", "FLOAT8E4M3FN"])
def test_external_numbers_are_those_that_onnx_reads(tmp_path, kind):
    dtype = getattr(TensorProto, kind)
    array = np.arange(24).astype(helper.tensor_dtype_to_np_dtype(dtype)).reshape(2, 3, 4)
    tensor = onnx.numpy_helper.from_array(array, "t")
    raw = tensor.raw_data
    (tmp_path / "t.bin").write_bytes(b"\0" * 4099 + raw)
    outside = rankers.external("t", (2, 3, 4), 4099, "t.bin", len(raw))
    outside.data_type = dtype
    found = read_external(outside, tmp_path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found.astype(np.float32), array.astype(np.float32))
    assert byte_size(outside) in (0, len(raw))


@pytest.mark.parametrize("dims", [(), (0, 4)])
def test_external_scalars_and_empty_weights(tmp_path, dims):
    array = np.full(dims, 7, np.float32)
    (tmp_path / "t.bin").write_bytes(b"\0\0\0\0" + array.tobytes())
    found = read_external(rankers.external("t", dims, 4, "t.bin"), tmp_path)
    assert found.shape == dims
    np.testing.assert_array_equal(found, array)


def test_external_numbers_behind_several_hard_links(tmp_path):
    (tmp_path / "t.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    os.link(tmp_path / "t.bin", tmp_path / "other.bin")
    np.testing.assert_array_equal(read_external(rankers.external("t", (4,), 0, "t.bin"), tmp_path), range(4))


def test_a_place_without_length_takes_it_from_the_shape():
    tensor = rankers.external("t", (2, 3), 8, "t.bin")
    del tensor.external_data[2]
    assert Place.of(tensor) == Place("t.bin", 8, 24)


def test_stand_ins_for_external_weights(tmp_path):
    model = onnx.load(rankers.with_tables(tmp_path), load_external_data=False)
    light = without_external_data(model)
    assert [t.name for t in light.graph.initializer] == ["w", "b", "v"]
    assert {"user_table", "item_table"} < {v.name for v in light.graph.input}
    onnx.checker.check_model(light)


def test_nodes_in_another_order_are_put_in_order():
    model = rankers.ranker()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    before = model.SerializeToString(deterministic=True)
    loaded = load_model(model)
    onnx.checker.check_model(loaded.model, full_check=True)
    assert [n.op_type for n in loaded.model.graph.node] == [n.op_type for n in nodes]
    assert model.SerializeToString(deterministic=True) == before


def test_two_versions_of_one_operator_set_are_refused():
    model = rankers.ranker()
    model.opset_import.append(helper.make_opsetid("ai.onnx", model.opset_import[0].version))
    assert load_model(model).model.graph.node
    model.opset_import.append(helper.make_opsetid("", 13))
    with pytest.raises(ModelError, match=r"ai\.onnx 13 and"):
        load_model(model)


def test_an_object_without_outputs_is_refused():
    model = rankers.ranker()
    del model.graph.output[:]
    with pytest.raises(ModelError, match="no outputs"):
        load_model(model)


def test_a_cycle_is_left_to_the_checker():
    model = rankers.ranker()
    model.graph.node[0].input[0] = "r"
    assert [n.op_type for n in load_model(model).model.graph.node] == [n.op_type for n in model.graph.node]
