"""Wrong arguments of the Python interface: one sentence that says what to give instead."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mari_onnx
from mari_onnx import MariError, UsageError
from mari_onnx.analysis import Side
from mari_onnx.cli import main
from tests import rankers

MODEL = rankers.ranker()
FEW = "a list of whole numbers from 1 on, such as"


def optimize(**options: Any) -> object:
    return mari_onnx.optimize(MODEL, **{"user_inputs": ["user_x"], **options})


def verify(**options: Any) -> object:
    return mari_onnx.verify(MODEL, MODEL, **options)


def bench(**options: Any) -> object:
    return mari_onnx.bench(MODEL, **{"user_inputs": ["user_x"], "candidates": [1], "seconds": 0.01, **options})


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        *(
            (f, {"batches": b}, f"batches is {FEW}")
            for f in (optimize, verify, bench)
            for b in (5, [0], ["a"], "1,2", [1.5])
        ),
        *(
            (f, {"seeds": s}, "seeds is a whole number")
            for f in (optimize, verify, bench)
            for s in (0, "2", None, True)
        ),
        *(
            (f, {t: x}, f"{t} is a number from 0 on")
            for f in (optimize, verify)
            for t in ("rtol", "atol")
            for x in (-1, "x")
        ),
        *(
            (f, {"samples": s}, "samples are arrays by")
            for f in (optimize, verify, bench)
            for s in (3, "a.npz", {1: 2})
        ),
        *(
            (f, {"user_inputs": u}, "inputs are named by strings")
            for f in (optimize, verify, bench)
            for u in (1, [1], [b"u"])
        ),
        (verify, {"batches": []}, "at least one batch"),
        *(
            (optimize, {f: x}, f"{f} is True or False, not")
            for f in ("verify", "keep_signature")
            for x in ("no", 1, None)
        ),
        (optimize, {"candidates": 0}, "candidates is a whole number from 1 on, not 0"),
        (optimize, {"candidates": "512"}, "candidates is a whole number from 1 on, not '512'"),
        (optimize, {"tune": 64}, f"tune is {FEW}"),
        (optimize, {"tune": True}, f"tune is {FEW}"),
        (optimize, {"disable": "views"}, "disable is a list of names"),
        (optimize, {"prices": 3}, "prices are a"),
        (optimize, {"item_inputs": 3}, "inputs are named by strings"),
        (bench, {"candidates": 1}, f"candidates is {FEW}"),
        (bench, {"threads": 2}, f"threads is {FEW}"),
        (bench, {"threads": [0]}, f"threads is {FEW}"),
        (bench, {"seconds": "long"}, "seconds is a number"),
        (bench, {"provider": None}, "an execution provider is named by a string"),
        (bench, {"candidates": []}, "at least one candidate"),
    ],
)
def test_values_that_make_no_sense(function: Callable[..., object], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        function(**options)
    assert sentence in str(caught.value)


def test_paths_that_are_empty(tmp_path: Path) -> None:
    """As a variable of a shell is that nobody has set."""
    with pytest.raises(UsageError, match="the path of a model is empty"):
        mari_onnx.optimize("")
    with pytest.raises(UsageError, match="the path of the file to write is empty"):
        mari_onnx.optimize(MODEL, ["user_x"], verify=False).save("")
    model = rankers.save(MODEL, tmp_path / "m.onnx")
    assert main(["optimize", str(model), "", "--user", "user_x", "-q"]) == 2


class PathInBytes(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"m.onnx"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("a\0b.onnx", "no file can have the path 'a\\x00b.onnx'"),
        ("\ud800.onnx", "no file can have the path '\\ud800.onnx'"),
        (PathInBytes(), "a path is text, not b'm.onnx'"),
    ],
)
def test_paths_that_no_file_can_have(path: Any, sentence: str) -> None:
    """The system raises ValueErrors for them, wherever they are opened."""
    result = mari_onnx.optimize(MODEL, ["user_x"], verify=False)
    for use in (mari_onnx.optimize, mari_onnx.bench, result.save, lambda p: mari_onnx.verify(MODEL, p)):
        with pytest.raises(UsageError) as caught:
            use(path)
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ({"user_x": [[1.0], [2.0, 3.0]]}, "sample 'user_x' is no array: "),
        ({"user_x": 1.0}, "sample 'user_x' has shape [], the input has [B, 64]"),
        ({"nobody": [1.0]}, "sample 'nobody' is not an input; the inputs are: user_x, item_x"),
    ],
)
def test_samples_that_do_not_fit(samples: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        verify(samples=samples)


def test_samples_that_the_original_does_not_take() -> None:
    body = "g (int64[B] user_id, float[B,2] item_x) => (float[B,2] y) { e = Gather(t, user_id) y = Add(e, item_x) }"
    model = rankers.text(body, t=(4, 2))
    with pytest.raises(MariError, match="original model: it does not run on the samples"):
        mari_onnx.verify(model, model, samples={"user_id": np.array([4])})


@pytest.mark.parametrize("model", [None, 3, ["a.onnx"], b"\x08\x07"])
@pytest.mark.parametrize(
    "function",
    [
        mari_onnx.optimize,
        mari_onnx.analyze,
        mari_onnx.bench,
        lambda model: mari_onnx.verify(model, MODEL),
        lambda model: mari_onnx.verify(MODEL, model),
    ],
)
def test_what_is_no_model(function: Callable[..., object], model: object) -> None:
    with pytest.raises(UsageError, match=r"a model is a path or an onnx\.ModelProto, not "):
        function(model)


def test_what_is_no_path_to_write(tmp_path: Path) -> None:
    result = optimize(verify=False)
    assert isinstance(result, mari_onnx.OptimizeResult)
    with pytest.raises(UsageError, match="a file to write is a path, not 3"):
        result.save(3)  # type: ignore[arg-type]
    with pytest.raises(MariError, match="does not exist"):
        result.save(tmp_path / "no" / "out.onnx")


@pytest.mark.parametrize(
    ("function", "option", "hint"),
    [
        (optimize, "users", r"optimize\(\) got an unexpected keyword argument 'users'; did you mean 'user_inputs'\?"),
        (optimize, "batch", r"'batch'; did you mean 'batches'\?"),
        (optimize, "zzz", r"'zzz'$"),
        (bench, "thread", r"bench\(\) got an unexpected keyword argument 'thread'; did you mean 'threads'\?"),
        (bench, "seed", r"'seed'; did you mean 'seeds'\?"),
    ],
)
def test_an_option_that_there_is_not_is_what_python_calls_it(
    function: Callable[..., object], option: str, hint: str
) -> None:
    with pytest.raises(TypeError, match=hint):
        function(**{option: 1})


def test_values_and_sides_that_there_are_not() -> None:
    found = mari_onnx.analyze(MODEL, "user_*")
    assert found.side("user_x") is Side.USER
    assert found.values("user") == found.values(Side.USER) == ["user_x"]
    with pytest.raises(UsageError, match=r"no value 'user_y': did you mean 'user_x'\?"):
        found.side("user_y")
    with pytest.raises(UsageError, match="no value 'something else'; `facts` has them all"):
        found.side("something else")
    for wrong in (lambda: found.values("users"), lambda: Side("users")):
        with pytest.raises(UsageError, match="no side 'users': the sides are shared, user, item, cross, opaque"):
            wrong()
