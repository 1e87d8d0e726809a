"""What notes say of a result, and of how the model was saved."""

from __future__ import annotations

import onnx
import pytest

import mari_onnx
from mari_onnx.explain import explain
from mari_onnx.options import Options
from models.catalog import Exported
from tests.committed import MODELS, loaded, users_of
from tests.patterns.support import model_of

NOTHING = "nothing is gained"
LAID_OUT = "ORT_ENABLE_ALL"


def said(model: onnx.ModelProto, **options: object) -> list[str]:
    return list(mari_onnx.optimize(model, ["user"], verify=False, **options).notes)


# -- what is gained ----------------------------------------------------------------------------------------------------

BLOCKED = """g (float[B,100] user, float[B,8] item) => (int64[B,1] y) {
    x = Concat<axis = 1>(user, item)
    y = ArgMax<axis = 1>(x)
}"""


@pytest.mark.parametrize("keep", [False, True])
def test_a_user_who_is_only_repeated_is_told_of(keep: bool) -> None:
    (note,) = said(model_of(BLOCKED), keep_signature=keep)
    assert NOTHING in note
    assert "512 candidates" in note


def test_the_estimate_is_for_the_candidates_that_are_named() -> None:
    (note,) = said(model_of(BLOCKED), candidates=64)
    assert "64 candidates" in note


@pytest.mark.parametrize("meta", MODELS[::6], ids=lambda meta: meta.name)
def test_models_that_gain_are_not_told_so(meta: Exported) -> None:
    result = mari_onnx.optimize(loaded(meta.path).source, users_of(meta), verify=False)
    assert not [note for note in result.notes if NOTHING in note]


# -- where the candidates are ------------------------------------------------------------------------------------------

AXIS = "candidates are taken to be on the first axis"


def pooled(history: str, item: str) -> onnx.ModelProto:
    return model_of(
        f"""g (float[{history}] user, float[{item}] item) => (float[{item}] y) {{
            p = ReduceMean<axes = [0], keepdims = 0>(user) y = Add(p, item)
        }}"""
    )


def test_a_number_that_two_axes_have() -> None:
    (note,) = [note for note in said(pooled("8,8,4", "8,4")) if AXIS in note]
    assert note.startswith(f"the 8 {AXIS} of user [8, 8, 4]; if they are on another, export the model with an open")


@pytest.mark.parametrize(("history", "item"), [("B,B,4", "B,4"), ("8,1,4", "8,4"), ("8,B,4", "B,4")])
def test_axes_that_can_be_told(history: str, item: str) -> None:
    assert not [note for note in said(pooled(history, item)) if AXIS in note]


def test_features_are_no_candidates() -> None:
    text = """g (float[8,8] user, int64[8,8] item) => (float[8,8] y) { i = Cast<to = 1>(item) y = Add(user, i) }"""
    (note,) = [note for note in said(model_of(text)) if AXIS in note]
    assert "first axis of item [8, 8]; if" in note


def test_a_number_that_no_output_has() -> None:
    text = """g (float[5,8,4] user, float[5,8,4] item) => (float[8,4] y) {
        p = ReduceMean<axes = [0], keepdims = 0>(user) q = ReduceMean<axes = [0], keepdims = 0>(item) y = Add(p, q)
    }"""
    (note,) = [note for note in said(model_of(text)) if AXIS in note]
    assert f"the 5 {AXIS} of all inputs, and no output has an entry for each; if" in note


# -- how the model was saved -------------------------------------------------------------------------------------------


LAYERS = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft.nchwc" : 1]>
g (float[B,8,4,4] user, float[B,8,4,4] item, float[8,8,1,1] w) => (float[B,8,4,4] y) {
    x = com.microsoft.nchwc.ReorderInput(user)
    c = com.microsoft.nchwc.Conv<kernel_shape = [1, 1]>(x, w)
    p = com.microsoft.nchwc.ReorderOutput<channels = 8>(c)
    y = Add(p, item)
}"""


def test_convolutions_for_one_processor_are_told_of() -> None:
    """ONNX Runtime saves them so with all optimizations on, here for registers of 8 floats."""
    model = onnx.parser.parse_model(LAYERS)
    (note,) = [note for note in said(model) if LAID_OUT in note]
    assert "3 operators of com.microsoft.nchwc" in note
    assert note in explain(model, Options(["user"])).notes


# -- how it was exported -----------------------------------------------------------------------------------------------

TRAINED = "in evaluation mode"


def in_training(training: str, norm: int = 0) -> onnx.ModelProto:
    return model_of(
        f"""g (float[B,3] user, float[B,2] item) => (float[B,5] y) <
            float r = {{0.5}}, bool t = {{{training}}},
            float[5] one = {{1, 1, 1, 1, 1}}, float[5] z = {{0, 0, 0, 0, 0}}
        > {{
            x = Concat<axis = 1>(user, item)
            a = Dropout(x, r, t)
            b = Dropout(a, r, t)
            {"c, m, v" if norm else "c"} = BatchNormalization<training_mode = {norm}>(b, one, z, z, one)
            y = Relu(c)
        }}"""
    )


@pytest.mark.parametrize(("norm", "others"), [(0, "and 1 other operator work as"), (1, "and 2 others work as")])
def test_operators_that_work_as_in_training_are_told_of(norm: int, others: str) -> None:
    (note,) = [note for note in said(in_training("1", norm)) if TRAINED in note]
    assert "Dropout 'a'" in note
    assert others in note
    assert note in explain(in_training("1", norm), Options(["user"])).notes


def test_a_model_in_evaluation_mode_is_not_told_so() -> None:
    assert not [note for note in said(in_training("0")) if TRAINED in note]
