"""What gets installed. patterns/ lies beside mari_onnx/ but is installed inside it, which is easy to break unseen."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE_ROOTS = {"mari_onnx": "mari_onnx", "patterns": "mari_onnx/patterns"}  # folder here -> folder when installed


def installed_files() -> dict[str, Path]:
    """All files of the package: where each has to be once installed -> where it is now."""
    return {
        (PurePosixPath(target) / path.relative_to(ROOT / source).as_posix()).as_posix(): path
        for source, target in PACKAGE_ROOTS.items()
        for path in sorted((ROOT / source).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in: setuptools leaves a build folder behind, and files in it end up in later wheels."""
    copy = tmp_path_factory.mktemp("checkout")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    for folder in PACKAGE_ROOTS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("models", "tests"):  # what lies beside the package, and must not be picked up
        (copy / folder).mkdir()
        (copy / folder / "__init__.py").touch()
    return copy


def build(checkout: Path, hook: str, into: Path) -> Path:
    """Call a hook of the build backend, as pip does, and return the wheel it made."""
    code = f"import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])"
    command = [sys.executable, "-W", "ignore", "-c", code, str(into)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel


def installed_paths(site: Path, *modules: str) -> list[Path]:
    """Import modules in a fresh interpreter that knows `site` and the dependencies only; return their files."""
    code = (
        "import importlib, site, sys; site.addsitedir(sys.argv[1]); sys.path += sys.argv[2].split(';');"
        "print(*(importlib.import_module(name).__file__ for name in sys.argv[3:]), sep='\\n')"
    )
    dependencies = ";".join(dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")))
    # -S: no .pth files, or the editable install that the tests run from would lend what `site` lacks
    command = [sys.executable, "-I", "-S", "-c", code, str(site), dependencies, *modules]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, "build_wheel", tmp_path_factory.mktemp("wheel"))


def test_all_packages_are_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {path.rpartition("/")[0].replace("/", ".") for path in installed_files() if path.endswith("/__init__.py")}
    assert listed == sorted(found), "[tool.setuptools] packages in pyproject.toml does not list what is there"


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == set(installed_files())
    assert {"mari_onnx/py.typed", "mari_onnx/patterns/__init__.py"} <= inside


def test_wheel_imports(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert installed_paths(tmp_path, "mari_onnx", "mari_onnx.patterns", "mari_onnx.cli") == [
        tmp_path / "mari_onnx" / "__init__.py",
        tmp_path / "mari_onnx" / "patterns" / "__init__.py",
        tmp_path / "mari_onnx" / "cli" / "__init__.py",
    ]


def test_editable_install_imports(checkout: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(build(checkout, "build_editable", tmp_path)).extractall(tmp_path)
    assert installed_paths(tmp_path, "mari_onnx", "mari_onnx.patterns", "mari_onnx.cli") == [
        checkout / "mari_onnx" / "__init__.py",
        checkout / "patterns" / "__init__.py",
        checkout / "mari_onnx" / "cli" / "__init__.py",
    ]


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = ConfigParser()
        scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
        assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert metadata["Name"] == "mari-onnx"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert scripts["console_scripts"]["mari-onnx"] == "mari_onnx.cli:main"
    requirements = metadata.get_all("Requires-Dist", [])
    runtimes = [requirement for requirement in requirements if requirement.startswith("onnxruntime")]
    assert len(runtimes) == 2, "one build of ONNX Runtime for each extra"
    assert all("extra ==" in requirement for requirement in runtimes), "both builds together break each other"
