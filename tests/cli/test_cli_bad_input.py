"""Whatever is wrong with a model or a request: one sentence, exit status 2, nothing written."""

from __future__ import annotations

import builtins
import os
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mari_onnx.load import load_model
from tests import rankers

USER = ("--user", "user_*", "--no-benchmark")


def test_no_such_file(refused, tmp_path, out):
    assert refused("optimize", tmp_path / "no.onnx", out).endswith("no.onnx: no such file")


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x08\x07", bytes(range(256)) * 8])
def test_not_a_model(refused, tmp_path, out, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert "bad.onnx is not an ONNX model" in refused("optimize", path, out)
    assert "bad.onnx is not an ONNX model" in refused("explain", path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(range(99)), "a zip archive"),
        (b"\x1f\x8b" + bytes(range(99)), "compressed with gzip"),
    ],
)
def test_a_file_that_is_often_taken_for_a_model(refused, tmp_path, out, content, words):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert words in refused("optimize", path, out)


def test_cut_off_anywhere(refused, model, out, tmp_path):
    content = model.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 100):
        path = tmp_path / "cut.onnx"
        path.write_bytes(content[:size])
        assert "cut off" in refused("optimize", path, out, *USER)


def test_a_directory(refused, tmp_path, out):
    assert "is a directory, not an ONNX file" in refused("optimize", tmp_path, out)


def test_no_permission(refused, model, out, monkeypatch):
    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert "no permission to read it" in refused("optimize", model, out)


def test_a_read_error(refused, model, out, monkeypatch):
    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert "cannot be read: Input/output error" in refused("optimize", model, out)


def test_a_file_over_2_gib(refused, tmp_path, out):
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 1)
    assert "over 2 GiB" in refused("optimize", path, out)


def test_no_outputs(refused, tmp_path, out):
    model = rankers.ranker()
    del model.graph.output[:]
    assert "no outputs" in refused("optimize", rankers.save(model, tmp_path / "m.onnx"), out, *USER)


@pytest.mark.parametrize(("version", "words"), [(6, "opset 6 is too old"), (10_000, "newer than the installed onnx")])
def test_opset(refused, tmp_path, out, version, words):
    model = rankers.ranker()
    model.opset_import[0].version = version
    assert words in refused("optimize", rankers.save(model, tmp_path / "m.onnx"), out, *USER)


class TestExternalData:
    def test_missing(self, refused, tmp_path, out):
        path = rankers.with_tables(tmp_path / "in")
        (tmp_path / "in" / "tables.bin").unlink()
        message = refused("optimize", path, out, *USER)
        assert "'user_table'" in message
        assert "'tables.bin', which is missing" in message
        assert str(tmp_path / "in") in message

    def test_cut_off(self, refused, tmp_path, out):
        path = rankers.with_tables(tmp_path / "in")
        os.truncate(tmp_path / "in" / "tables.bin", 2048 * 64 - 1)
        message = refused("optimize", path, out, *USER)
        assert "'item_table'" in message
        assert "too short (131071 bytes)" in message

    def test_shorter_than_the_shape_says(self, refused, tmp_path, out):
        path = rankers.with_tables(tmp_path / "in")
        model = onnx.load(path, load_external_data=False)
        model.graph.initializer[1].CopyFrom(rankers.external("item_table", (10**6, 16), 0, "tables.bin", length=64))
        assert "too short" in refused("optimize", rankers.save(model, path), out, *USER)

    @pytest.mark.parametrize("location", ["../tables.bin", "/etc/hostname", ""])
    def test_outside_the_folder(self, refused, tmp_path, out, location):
        path = rankers.with_tables(tmp_path / "in")
        (tmp_path / "tables.bin").write_bytes(b"\0" * 131072)
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer[:2]:
            tensor.external_data[0].value = location
        assert "outside the folder of the model" in refused("optimize", rankers.save(model, path), out, *USER)

    def test_no_name_of_a_file(self, refused, tmp_path, out):
        path = rankers.with_tables(tmp_path / "in")
        model = onnx.load(path, load_external_data=False)
        model.graph.initializer[0].external_data[0].value = "tables\0bin"
        assert "no name of a file" in refused("optimize", rankers.save(model, path), out, *USER)

    def test_a_link_that_leads_outside(self, refused, tmp_path, out):
        path = rankers.with_tables(tmp_path / "in")
        (tmp_path / "in" / "tables.bin").rename(tmp_path / "elsewhere.bin")
        (tmp_path / "in" / "tables.bin").symlink_to(tmp_path / "elsewhere.bin")
        assert "outside the folder of the model" in refused("optimize", path, out, *USER)

    def test_links_of_model_and_data_into_one_folder_are_followed(self, tmp_path):
        path = rankers.with_tables(tmp_path / "blobs")
        (tmp_path / "snapshot").mkdir()
        for name in ("model.onnx", "tables.bin"):
            (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
        assert load_model(tmp_path / "snapshot" / "model.onnx").model == load_model(path).model

    @pytest.mark.parametrize("offset", ["-4", "many"])
    def test_offsets_that_are_none(self, refused, tmp_path, out, offset):
        path = rankers.with_tables(tmp_path / "in")
        model = onnx.load(path, load_external_data=False)
        model.graph.initializer[0].external_data[1].value = offset
        assert "not stated in numbers" in refused("optimize", rankers.save(model, path), out, *USER)

    def test_not_readable(self, refused, tmp_path, out, monkeypatch):
        path = rankers.with_tables(tmp_path / "in")
        access = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: mode != os.R_OK and access(p, mode))
        assert "may not be read" in refused("optimize", path, out, *USER)

    def test_a_model_in_memory_cannot_have_any(self, tmp_path):
        from mari_onnx import ModelError

        model = onnx.load(rankers.with_tables(tmp_path), load_external_data=False)
        with pytest.raises(ModelError, match="give the path"):
            load_model(model)


def test_unknown_input_with_the_nearest_name(refused, model, out):
    message = refused("optimize", model, out, "--user", "usr_x")
    assert "no input 'usr_x'" in message
    assert "did you mean 'user_x'?" in message


def test_a_glob_that_matches_nothing(refused, model, out):
    assert "item_x" in refused("optimize", model, out, "--user", "member_*")


def test_all_inputs_user_side(refused, model, out):
    assert "every input is user-side" in refused("optimize", model, out, "--user", "*")


def test_no_input_user_side(refused, model, out):
    assert "no input is user-side" in refused("optimize", model, out, "--item", "*")


def test_nothing_said_and_nothing_to_guess_from(refused, tmp_path, out):
    body = "g (float[B,3] a, float[B,3] b) => (float[B,3] score) { score = Add(a, b) }"
    message = refused("optimize", rankers.save(rankers.text(body), tmp_path / "m.onnx"), out)
    assert "--user NAME" in message
    assert "a [B, 3], b [B, 3]" in message


def test_an_item_input_without_candidate_axis(refused, tmp_path, out):
    body = """g (float[B,3] user_x, float item_s, float[B,3] item_x) => (float[B,3] score) {
        s = Mul(item_x, item_s) score = Add(s, user_x)
    }"""
    path = rankers.save(rankers.text(body), tmp_path / "m.onnx")
    assert "no candidate axis" in refused("optimize", path, out, "--item", "item_*")


def test_items_that_disagree_about_the_number_of_candidates(refused, tmp_path, out):
    body = """g (float[B,3] user_x, float[8,3] item_a, float[9,3] item_b) => (float s) {
        a = ReduceSum<keepdims=0>(item_a) b = ReduceSum<keepdims=0>(item_b) c = ReduceSum<keepdims=0>(user_x)
        s = Sum(a, b, c)
    }"""
    path = rankers.save(rankers.text(body), tmp_path / "m.onnx")
    message = refused("optimize", path, out, "--user", "user_x", "--item", "item_*")
    assert "do not agree on the number of candidates" in message
    assert "item_b [9, 3]" in message


def test_a_graph_that_fails_the_checker(refused, tmp_path, out):
    body = "g (float[B,3] user_x, float[B,3] item_x) => (float[B,3] score) { score = Add(user_x, absent) }"
    path = rankers.save(rankers.text(body), tmp_path / "m.onnx")
    assert "m.onnx is not a valid model" in refused("optimize", path, out, *USER)


def custom_operator(tmp_path: Path) -> Path:
    model = rankers.ranker()
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    model.graph.node[2].domain = "com.acme"
    return rankers.save(model, tmp_path / "custom.onnx")


def test_a_model_that_the_runtime_cannot_load(refused, cli, tmp_path, out):
    path = custom_operator(tmp_path)
    message = refused("optimize", path, out, *USER)
    assert "ONNX Runtime cannot load it" in message
    assert "--no-verify" in message
    done = cli("optimize", path, out, *USER, "--no-verify")
    assert done.status == 0, done.err
    assert out.exists()


def test_no_runtime_installed(refused, cli, model, out, monkeypatch):
    real = builtins.__import__

    def without(name: str, *args: object, **more: object) -> object:
        if name.partition(".")[0] == "onnxruntime":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    message = refused("optimize", model, out, *USER)
    assert "onnxruntime is not installed: pip install 'mari-onnx[cpu]'" in message
    assert "onnxruntime is not installed" in refused("verify", model, model)
    done = cli("optimize", model, out, "--user", "user_x", "--no-verify")
    assert done.status == 0, done.err
    assert any("onnxruntime is not installed" in line for line in done.messages)


def test_verification_that_fails_is_status_1_and_names_the_rewrite(refused, model, out, monkeypatch):
    from mari_onnx.patterns.split_product import SplitProduct

    honest = SplitProduct.rewrite

    def wrong(rule, node, found, at):
        return [at.emit("Add", [value, value]) for value in honest(rule, node, found, at)]

    monkeypatch.setattr(SplitProduct, "rewrite", wrong)
    message = refused("optimize", model, out, *USER, status=1)
    assert "FAILED: 1 of 1 outputs differ" in message
    assert "'split-product' at Gemm 'h'" in message
    assert "--disable split-product" in message


def test_a_result_that_the_runtime_does_not_take_is_status_1(refused, model, out, monkeypatch):
    from mari_onnx.errors import ModelError
    from mari_onnx.verification import verifier

    honest = verifier.open_session

    def only_originals(source):
        if source.role == "optimized model":
            raise ModelError("optimized model: ONNX Runtime cannot load it: no kernel")
        return honest(source)

    monkeypatch.setattr(verifier, "open_session", only_originals)
    message = refused("optimize", model, out, *USER, status=1)
    assert "optimized model: ONNX Runtime cannot load it" in message
    assert "please report" in message


def test_nan_in_the_original_is_equal_and_said(cli, tmp_path, out):
    body = """g (float[B,3] user_x, float[B,3] item_x) => (float[B,6] score) {
        x = Concat<axis=1>(user_x, item_x) y = Sqrt(x) z = Neg(y) score = Sqrt(z)
    }"""
    path = rankers.save(rankers.text(body), tmp_path / "m.onnx")
    done = cli("optimize", path, out, *USER)
    assert done.status == 0, done.err
    assert any("NaN" in line for line in done.messages)


def test_an_input_that_is_no_tensor(refused, tmp_path, out):
    body = "g (seq(float[2]) user_s, float[B,2] item_x) => (float[B,2] score) { score = Neg(item_x) }"
    path = rankers.save(rankers.text(body), tmp_path / "m.onnx")
    assert "user_s" in refused("optimize", path, out, "--user", "user_s")


def test_inlined_functions_that_cannot_be(refused, tmp_path, out):
    model = rankers.ranker()
    node = helper.make_node("Twice", ["x"], ["y"], domain="local")
    function = helper.make_function("local", "Twice", ["x"], ["y"], [node], [helper.make_opsetid("local", 1)], [])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[2].CopyFrom(helper.make_node("Twice", ["h"], ["r"], domain="local"))
    message = refused("optimize", rankers.save(model, tmp_path / "m.onnx"), out, *USER)
    assert "m.onnx" in message


@pytest.mark.parametrize("dtype", [TensorProto.UNDEFINED, 112])
def test_a_type_that_is_none(refused, tmp_path, out, dtype):
    model = rankers.ranker()
    model.graph.input[0].type.tensor_type.elem_type = dtype
    assert "m.onnx" in refused("optimize", rankers.save(model, tmp_path / "m.onnx"), out, *USER)


def damaged(model: Path, old: bytes, new: bytes) -> None:
    content = model.read_bytes()
    assert old in content
    model.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("text", [b"user_x", b"Relu", b"ranker"])
def test_text_that_is_not_text(refused, model, out, text):
    damaged(model, text, b"\xff" * len(text))
    assert "model.onnx" in refused("optimize", model, out, *USER)


@pytest.mark.parametrize("dtype", [0, 50])
def test_a_constant_of_a_type_that_nobody_knows(refused, tmp_path, out, dtype):
    model = rankers.ranker()
    model.graph.initializer[0].data_type = dtype
    message = refused("optimize", rankers.save(model, tmp_path / "m.onnx"), out, *USER)
    assert f"the constant 'w' has the element type {dtype}" in message


def test_a_constant_whose_bytes_do_not_fill_its_shape(refused, tmp_path, out):
    model = rankers.ranker()
    model.graph.initializer[1].dims[0] = 33
    message = refused("optimize", rankers.save(model, tmp_path / "m.onnx"), out, *USER)
    assert "'b' has 128 bytes, and its shape needs 132" in message


@pytest.mark.parametrize("verb", ["optimize", "explain", "verify", "bench"])
def test_a_document_does_not_overwrite_a_model(verb, cli, model, out):
    out.write_bytes(model.read_bytes())
    before = model.read_bytes()
    others = {"optimize": [out], "explain": [], "verify": [out], "bench": []}[verb]
    done = cli(verb, model, *others, f"--json={model}", *(["--overwrite"] if verb == "optimize" else []))
    assert done.status == 2
    assert "would be overwritten" in done.err
    assert model.read_bytes() == out.read_bytes() == before


def test_a_document_does_not_overwrite_what_is_no_document(cli, model, tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    assert cli("explain", model, "--user", "user_x", f"--json={other}").status == 2
    assert other.read_text() == "mine"
    other.write_text("{}")
    assert cli("explain", model, "--user", "user_x", f"--json={other}").status == 0
    assert other.read_text().startswith("{\n")
