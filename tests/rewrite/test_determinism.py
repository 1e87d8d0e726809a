"""The same model and the same options give the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mari_onnx.load import load_model
from mari_onnx.options import Options
from mari_onnx.patterns import RULES
from mari_onnx.pipeline import build
from models.catalog import Exported
from tests.committed import FIRST_HALF, OTHER_HALF, result_of, users_of

each_of_one_half = pytest.mark.parametrize("meta", FIRST_HALF, ids=lambda meta: meta.name)

DIGEST = """
import hashlib
from mari_onnx.load import load_model
from mari_onnx.patterns import RULES
from mari_onnx.options import Options
from mari_onnx.pipeline import build
from tests.committed import OTHER_HALF, users_of
for meta in OTHER_HALF[::2]:
    model = build(load_model(meta.path), Options(user_inputs=users_of(meta)), RULES).model
    print(meta.name, hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest())
"""


def test_two_processes_with_other_hashes_write_the_same_bytes(pytestconfig: pytest.Config) -> None:
    outputs = []
    for seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(pytestconfig.rootpath)}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        outputs.append(done.stdout.splitlines())
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == len(OTHER_HALF[::2])


@each_of_one_half
def test_two_runs_in_one_process_write_the_same_bytes(meta: Exported) -> None:
    once, again = result_of(meta.path), build(load_model(meta.path), Options(user_inputs=users_of(meta)), RULES)
    assert once.model.SerializeToString(deterministic=True) == again.model.SerializeToString(deterministic=True)
