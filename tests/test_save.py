"""A result is complete or not there, and what belongs to the source stays as it is."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx import ModelError, UsageError
from mari_onnx.cli import main
from mari_onnx.files import copy_file
from mari_onnx.load import load_model
from mari_onnx.options import Options
from mari_onnx.pipeline import run
from mari_onnx.save import ExternalData, Output
from tests import rankers

OPTIONS = Options(user_inputs=["user_*"], batches=(1, 3), seeds=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return rankers.with_tables(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "result.onnx"


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def save(source: Path, out: Path, **how: object) -> Output:
    """Optimizes, verifies the file, and gives it its name; returns what did it."""
    loaded = load_model(source)
    with Output(out, loaded, **how) as output:
        result = run(loaded, OPTIONS, place=output.stage)
        output.stage(result.model)
        output.commit()
    return output


def runs_like(source: Path, result: Path) -> None:
    assert mari_onnx.verify(source, result, batches=(1, 5)).passed
    onnx.checker.check_model(result, full_check=True)
    onnx.load(result)


class TestPlaceIsCheckedFirst:
    def refused(self, source: Path, out: Path, words: str, **how: object) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            Output(out, load_model(source), **how)
        assert "\n" not in str(caught.value)

    def test_missing_folder(self, source, out):
        self.refused(source, out.parent / "no" / "m.onnx", "does not exist")

    def test_a_directory(self, source, out):
        self.refused(source, out.parent, "is a directory")

    @pytest.mark.parametrize(("folder", "file"), [("/", "/model.onnx"), (".", "model.onnx"), ("..", "../model.onnx")])
    def test_a_directory_without_a_name(self, source, folder, file):
        self.refused(source, Path(folder), f"is a directory: name a file in it, such as {file}")

    @pytest.mark.parametrize("length", [300, 250])
    def test_a_name_that_is_too_long_as_it_is_or_with_what_temporary_names_add(self, source, out, length):
        self.refused(source, out.with_name("a" * length), "this name is too long")

    def test_something_that_is_no_file(self, source, out):
        self.refused(source, Path("/dev/full"), "not a regular file")

    def test_a_folder_that_is_not_writable(self, source, out, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out.parent)
        self.refused(source, out, "is not writable")

    def test_a_file_that_is_write_protected(self, source, out, monkeypatch):
        out.touch()
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out)
        self.refused(source, out, "write-protected")

    @pytest.mark.parametrize("how", ["same", "relative", "symbolic", "hard"])
    def test_the_input_itself(self, source, out, how, monkeypatch):
        monkeypatch.chdir(source.parent)
        place = {"same": source, "relative": Path("../in/model.onnx")}.get(how, out)
        if how == "symbolic":
            out.symlink_to(source)
        if how == "hard":
            os.link(source, out)
        self.refused(source, place, "--overwrite", external=ExternalData.COPY)

    def test_a_data_file_of_the_input(self, source):
        self.refused(source, source.with_name("tables.bin"), "is a data file of the input", overwrite=True)

    def test_a_name_that_a_data_file_will_have(self, source, out):
        self.refused(source, out.with_name("tables.bin"), "is a data file of the input")

    def test_references_from_another_folder(self, source, out):
        self.refused(source, out, "only from the folder of the model", external=ExternalData.REFERENCE)

    def test_another_data_file_in_the_way(self, source, out):
        out.with_name("tables.bin").write_bytes(b"something else")
        self.refused(source, out, "is not the data file that the result needs")
        assert out.with_name("tables.bin").read_bytes() == b"something else"

    def test_before_any_work_on_the_command_line(self, source, out, monkeypatch, capsys):
        monkeypatch.setattr("mari_onnx.cli.optimize.optimize", lambda *args: pytest.fail("work was done"))
        assert main(["optimize", str(source), str(out.parent / "no" / "m.onnx")]) == 2
        assert main(["optimize", str(source), str(source)]) == 2
        assert "Traceback" not in capsys.readouterr().err


class TestWriting:
    def test_overwriting_the_input_leaves_a_verified_result(self, source, tmp_path):
        before = load_model(source).model
        save(source, source, overwrite=True)
        assert files(tmp_path / "in") == ["model.onnx", "tables.bin"]
        assert onnx.load(source, load_external_data=False) != before

    def test_an_existing_file_is_replaced_and_keeps_its_permissions(self, source, out):
        out.write_bytes(b"old")
        out.chmod(0o640)
        save(source, out)
        assert stat.S_IMODE(out.stat().st_mode) == 0o640
        runs_like(source, out)

    def test_a_new_file_has_the_usual_permissions(self, source, out):
        save(source, out)
        (out.parent / "usual").touch()
        assert out.stat().st_mode == (out.parent / "usual").stat().st_mode

    def test_without_commit_nothing_is_left(self, source, out):
        loaded = load_model(source)
        with Output(out, loaded) as output:
            staged = output.stage(loaded.model)
            assert staged.exists()
        assert files(out.parent) == []

    def test_staging_again_takes_the_place_of_the_first(self, source, out):
        loaded = load_model(source)
        with Output(out, loaded) as output:
            first = output.stage(loaded.model)
            assert output.stage(loaded.model) == first
            output.stage(onnx.ModelProto.FromString(loaded.model.SerializeToString()))
            output.commit()
        assert files(out.parent) == ["result.onnx", "tables.bin"]

    @pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no space is left"), (errno.EIO, "rror")])
    def test_a_disk_that_fails(self, source, out, monkeypatch, number, words):
        def fail(handle: int) -> None:
            raise OSError(number, os.strerror(number))

        out.write_bytes(b"old")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(ModelError, match=words) as caught:
            save(source, out)
        assert "nothing was written" in str(caught.value)
        assert files(out.parent) == ["result.onnx"]
        assert out.read_bytes() == b"old"

    def test_a_full_disk_while_data_is_copied(self, source, out, monkeypatch, capsys):
        def full(*args: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "copy_file_range", full)
        assert main(["optimize", str(source), str(out), "--user", "user_id", "--no-benchmark"]) == 2
        assert "no space is left on the disk" in capsys.readouterr().err
        assert files(out.parent) == []

    def test_names_given_half_way_are_taken_back(self, source, out, monkeypatch):
        replace = os.replace

        def fail(old: Path, new: Path) -> None:
            if Path(new) == out:
                raise OSError(errno.EIO, "Input/output error")
            replace(old, new)

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(ModelError, match="nothing was written"):
            save(source, out)
        assert files(out.parent) == []

    def test_verification_that_fails_leaves_the_old_file(self, source, out, monkeypatch):
        from mari_onnx.errors import VerificationError
        from mari_onnx.verification import VerifyReport

        out.write_bytes(b"old")
        failed = VerifyReport(False, (), None, (), 1, 0)
        monkeypatch.setattr(VerifyReport, "summary", lambda report: "FAILED")
        monkeypatch.setattr("mari_onnx.pipeline.check", lambda *args, **more: failed)
        with pytest.raises(VerificationError):
            save(source, out)
        assert files(out.parent) == ["result.onnx"]
        assert out.read_bytes() == b"old"


class TestExternalData:
    def test_in_the_same_folder_it_is_referenced(self, source, tmp_path):
        result = tmp_path / "in" / "result.onnx"
        before = (tmp_path / "in" / "tables.bin").stat()
        save(source, result)
        assert files(tmp_path / "in") == ["model.onnx", "result.onnx", "tables.bin"]
        after = (tmp_path / "in" / "tables.bin").stat()
        assert (before.st_ino, before.st_mtime_ns, before.st_nlink) == (after.st_ino, after.st_mtime_ns, 1)
        runs_like(source, result)

    def test_in_another_folder_it_is_copied(self, source, out):
        save(source, out)
        assert files(out.parent) == ["result.onnx", "tables.bin"]
        copy, original = out.with_name("tables.bin"), source.with_name("tables.bin")
        assert copy.read_bytes() == original.read_bytes()
        assert copy.stat().st_nlink == 1
        runs_like(source, out)

    def test_once_copied_it_is_used_again(self, source, out):
        save(source, out)
        first = out.with_name("tables.bin").stat()
        save(source, out.with_name("other.onnx"))
        assert out.with_name("tables.bin").stat().st_mtime_ns == first.st_mtime_ns
        runs_like(source, out.with_name("other.onnx"))

    def test_other_data_is_replaced_when_asked(self, source, out):
        out.with_name("tables.bin").write_bytes(b"something else")
        save(source, out, overwrite=True)
        runs_like(source, out)

    def test_it_can_be_linked(self, source, out):
        save(source, out, external=ExternalData.LINK)
        assert os.path.samefile(out.with_name("tables.bin"), source.with_name("tables.bin"))
        assert mari_onnx.verify(source, out, batches=(1, 5)).passed
        save(source, out, external=ExternalData.LINK)  # what is linked already stays
        assert files(out.parent) == ["result.onnx", "tables.bin"]

    def test_where_links_are_not_possible_it_is_copied_and_said(self, source, out, monkeypatch):
        def refuse(*args: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        output = save(source, out, external=ExternalData.LINK)
        assert any("copied" in note for note in output.notes)
        runs_like(source, out)

    def test_data_in_a_folder_below(self, tmp_path, out):
        source = rankers.with_tables(tmp_path / "in", location="data/tables.bin")
        save(source, out)
        assert files(out.parent) == ["data/tables.bin", "result.onnx"]
        runs_like(source, out)

    def test_a_table_that_the_result_does_not_use_stays_behind(self, source, out):
        loaded = load_model(source)
        light = rankers.ranker()
        with Output(out, loaded) as output:
            output.stage(light)
            output.commit()
        assert files(out.parent) == ["result.onnx"]

    def test_weights_can_be_put_outside(self, tmp_path, out):
        source = rankers.save(rankers.ranker(), tmp_path / "in" / "model.onnx")
        output = save(source, out, outside=True)
        assert files(out.parent) == ["result.onnx", "result.onnx.data"]
        assert any("result.onnx.data" in note for note in output.notes)
        assert out.stat().st_size < 4096
        runs_like(source, out)
        save(source, out, outside=True)
        assert files(out.parent) == ["result.onnx", "result.onnx.data"]

    def test_too_many_weights_go_outside_by_themselves(self, source, out, monkeypatch):
        monkeypatch.setattr("mari_onnx.save.INLINE_LIMIT", 1000)
        output = save(source, out)
        assert files(out.parent) == ["result.onnx", "result.onnx.data", "tables.bin"]
        assert len(output.notes) == 1
        runs_like(source, out)

    def test_weights_outside_never_take_the_name_of_the_sources_data(self, tmp_path):
        source = rankers.with_tables(tmp_path / "in", location="model.onnx.data")
        before = (tmp_path / "in" / "model.onnx.data").read_bytes()
        save(source, source, overwrite=True, outside=True)
        assert files(tmp_path / "in") == ["model.onnx", "model.onnx.data", "model.onnx.mari.data"]
        assert (tmp_path / "in" / "model.onnx.data").read_bytes() == before
        onnx.load(source)

    def test_weights_outside_do_not_replace_a_strangers_file(self, source, out, monkeypatch):
        out.with_name("result.onnx.data").write_bytes(b"a stranger's")
        with pytest.raises(UsageError, match="in the way"):
            save(source, out, outside=True)
        assert files(out.parent) == ["result.onnx.data"]

    def test_memory_stays_small_however_large_the_tables(self, tmp_path):
        """64 MiB of tables here; measured by hand with 4 GiB as well."""
        code = (
            "import resource, sys; from mari_onnx.cli import main\n"
            "status = main(['optimize', *sys.argv[1:], '--user', 'user_id', '--no-benchmark', '-q'])\n"
            "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        peaks = []
        for name, rows in (("small", 1 << 12), ("large", 1 << 20)):
            source = rankers.with_tables(tmp_path / name, rows=rows)
            command = [sys.executable, "-c", code, str(source), str(source.with_name("out.onnx"))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            status, peak = map(int, done.stdout.split())
            assert status == 0, done.stderr
            peaks.append(peak)
        # The pages that rows were looked up in count, and the neighbours that the system maps along with them.
        assert peaks[1] - peaks[0] < 40 * 1024
        assert peaks[1] < 500 * 1024


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(source, out, number):
    code = (
        "import signal, sys, time; from mari_onnx.cli import main, optimize\n"
        # A shell's background job ignores interrupts, and so would all that it starts.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "def forever(*args): print('benchmark', flush=True); time.sleep(60)\n"
        "optimize.try_to_measure = forever\n"
        "sys.exit(main(['optimize', *sys.argv[1:], '--user', 'user_id', '-q']))"
    )
    command = [sys.executable, "-c", code, str(source), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "benchmark\n"
        assert any(".tmp" in name for name in files(out.parent))
        process.send_signal(number)
        assert process.wait(30) == 130
        assert process.stderr.read() == "mari-onnx: interrupted\n"
    assert files(out.parent) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_is_told_and_leaves_nothing_behind(source, out, number):
    """Nobody catches what a library does to its process; the status is that of the signal."""
    code = (
        "import os, resource, sys; from mari_onnx.cli import main, optimize\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"optimize.try_to_measure = lambda *args: os.kill(os.getpid(), {number})\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "optimize", str(source), str(out), "--user", "user_id", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -number
    assert done.stderr.splitlines()[-1] == (
        "mari-onnx: the process was ended while measuring the time before and after; no file was left half-written"
    )
    assert files(out.parent) == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_what_is_ignored_stays_ignored(source, out, monkeypatch):
    """A command under nohup goes on when its terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(
        "mari_onnx.cli.optimize.try_to_measure", lambda *a: (None, signal.raise_signal(signal.SIGHUP) or "")
    )
    try:
        assert main(["optimize", str(source), str(out), "--user", "user_id", "-q", "--no-verify"]) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert files(out.parent) == ["result.onnx", "tables.bin"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_second_signal_leaves_nothing_behind_either(source, out, monkeypatch):
    unlink = Path.unlink

    def impatient(path: Path, missing_ok: bool = False) -> None:
        if ".tmp" in path.name:
            signal.raise_signal(signal.SIGINT)
        unlink(path, missing_ok=missing_ok)

    loaded = load_model(source)
    output = Output(out, loaded)
    output.stage(loaded.model)
    assert any(".tmp" in name for name in files(out.parent))
    monkeypatch.setattr(Path, "unlink", impatient)
    # Whoever starts the tests in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), output:
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert files(out.parent) == []


class TestCopies:
    def test_holes_are_not_written(self, tmp_path):
        source = tmp_path / "source"
        with source.open("wb") as file:
            file.write(b"head")
            file.seek(1 << 30)
            file.write(b"tail")
        started = time.perf_counter()
        assert copy_file(source, tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_size == (1 << 30) + 4
        with (tmp_path / "copy").open("rb") as file:
            assert file.read(4) == b"head"
            file.seek(1 << 30)
            assert file.read() == b"tail"
        assert time.perf_counter() - started < 20

    @pytest.mark.parametrize("size", [0, 1, 4096, 300_000])
    def test_where_the_system_cannot_copy_ranges(self, tmp_path, monkeypatch, size):
        def unsupported(*args: object) -> int:
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(os, "copy_file_range", unsupported)
        content = np.random.default_rng(0).bytes(size)
        (tmp_path / "source").write_bytes(content)
        assert copy_file(tmp_path / "source", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content

    def test_an_existing_file_is_never_overwritten(self, tmp_path):
        (tmp_path / "source").write_bytes(b"new")
        (tmp_path / "copy").write_bytes(b"old")
        with pytest.raises(FileExistsError):
            copy_file(tmp_path / "source", tmp_path / "copy")


class TestResult:
    def test_it_saves_itself_with_its_data(self, source, out):
        mari_onnx.optimize(source, ["user_*"], batches=(2,), seeds=1).save(out)
        assert files(out.parent) == ["result.onnx", "tables.bin"]
        runs_like(source, out)

    def test_from_a_model_in_memory(self, out):
        model = rankers.ranker()
        mari_onnx.optimize(model, ["user_*"], batches=(2,), seeds=1).save(out)
        assert mari_onnx.verify(model, out).passed

    def test_not_over_its_source(self, source):
        result = mari_onnx.optimize(source, ["user_*"], batches=(2,), seeds=1)
        with pytest.raises(UsageError, match="--overwrite"):
            result.save(source)
        result.save(source, overwrite=True)
        assert onnx.load(source) is not None
