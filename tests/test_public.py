"""The public interface: what there is, that it resolves, and that importing it costs nothing."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

import mari_onnx

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_everything_public_resolves_and_has_a_docstring():
    for name in mari_onnx.__all__:
        value = getattr(mari_onnx, name)
        assert value is getattr(mari_onnx, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
    assert sorted(mari_onnx.__all__) == sorted(set(mari_onnx.__all__))
    assert set(mari_onnx.__all__) <= set(dir(mari_onnx))


def test_the_readme_names_everything_public_and_nothing_else():
    named = set(re.findall(r"mari_onnx\.([A-Za-z_]+)", README))
    assert named - {"rules"} == set(mari_onnx.__all__) - {"__version__"}  # mari_onnx.rules is an entry point group


def test_nothing_else_is_there():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mari_onnx.nothing


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy():
    heavy = "('onnx', 'numpy', 'networkx', 'onnxruntime', 'sympy', 'rich')"
    assert python(f"import sys, mari_onnx; print([n for n in {heavy} if n in sys.modules])") == "[]\n"


@pytest.mark.parametrize(
    "modules", list(permutations(["mari_onnx.verification", "mari_onnx.pipeline", "mari_onnx.analysis"], 2))
)
def test_functions_are_functions_whatever_was_imported_first(modules):
    code = f"import {', '.join(modules)}, mari_onnx; print(*(callable(f) and f.__name__ for f in "
    code += "(mari_onnx.optimize, mari_onnx.verify, mari_onnx.analyze)))"
    assert python(code) == "optimize verify analyze\n"


def test_no_submodule_has_the_name_of_something_public():
    folder = Path(mari_onnx.__file__).parent
    modules = {p.stem for p in folder.glob("*.py")} | {p.name for p in folder.iterdir() if p.is_dir()}
    assert modules.isdisjoint(mari_onnx.__all__)
