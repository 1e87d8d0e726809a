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
