"""Writing a result: complete and in one step, or not at all.

A result is first written under temporary names in the folder where it will be, so that it can be verified as a file;
:meth:`Output.commit` then renames. Weights that the source keeps in files of their own are neither read nor
rewritten: a result in the source's folder refers to the same files, one in another folder takes copies along.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

import onnx

from mari_onnx.checks import check_path
from mari_onnx.errors import ModelError, UsageError
from mari_onnx.files import copy_file, fsync_folder, take_mode, write_file
from mari_onnx.ir.external import Place, is_external
from mari_onnx.load import Loaded, tensors
from mari_onnx.outside import inline_bytes, relocated, write_outside

OVERWRITE = "--overwrite (in Python overwrite=True)"
INLINE_LIMIT = 1 << 30
"""Bytes of weights that a model file may hold; protobuf ends at 2 GiB, and copies on the way."""

TOKEN_BYTES = 4
"""Random ones in temporary names."""


class ExternalData(Enum):
    """What becomes of the source's data files when the result goes to another folder."""

    REFERENCE = "reference"
    """Nothing: allowed in the source's own folder only, since locations may not leave the model's folder."""
    LINK = "link"
    """Hard links, copies where the file system has none. Recent releases of onnx refuse to load such files."""
    COPY = "copy"
    """Copies; file systems that can share blocks between files do."""


class Output:
    """The place of a result, checked before any work is done for it.

    As a context manager it removes, at the end, all temporary files; without :meth:`commit` nothing else is left.

    Args:
        path: The file to write.
        loaded: The model that the result is made from.
        overwrite: Whether the source, or other data files in the way, may be replaced.
        external: What to do with the source's data files; ``None``: reference them where they can be, else copy.
        outside: Whether weights go to a data file beside the result however small they are together.

    Attributes:
        notes: Sentences for the user.
        written: Whether the result has its name.

    Raises:
        UsageError: The result cannot be written there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        loaded: Loaded,
        *,
        overwrite: bool = False,
        external: ExternalData | None = None,
        outside: bool = False,
    ) -> None:
        check_path(path)
        self.path = Path(path).absolute()
        self.notes: list[str] = []
        self.written = False
        self._shown = os.fspath(path)
        self._overwrite, self._outside = overwrite, outside
        self._folder = loaded.folder
        self._link = external is ExternalData.LINK
        self._token = secrets.token_hex(TOKEN_BYTES)
        self._temporary: dict[Path, Path] = {}  # temporary file -> what it will be called
        self._model: onnx.ModelProto | None = None
        self._staged: Path | None = None
        self._final: dict[str, str] = {}  # location in the staged file -> in the result
        self._present: set[str] = set()  # locations that hold the right data already
        _check_place(self.path, self._shown)
        self._check_source(loaded)
        locations = dict.fromkeys(Place.of(t).location for t in tensors(loaded.model.graph) if is_external(t))
        self._moves = bool(locations) and not self._is_beside_source()
        if self._moves and external is ExternalData.REFERENCE:
            raise UsageError(
                f"{self._shown}: data files can be referenced only from the folder of the model, {self._folder}; "
                "write there, or take 'copy' or 'link' instead of 'reference'"
            )
        self._locations = tuple(locations)
        self._check_locations()

    # -- before the work -------------------------------------------------------------------------------------------

    def _check_source(self, loaded: Loaded) -> None:
        if isinstance(loaded.source, onnx.ModelProto) or not self.path.exists():
            return
        if os.path.samefile(self.path, loaded.source) and not self._overwrite:
            raise UsageError(f"{self._shown} is the input itself: name another file, or say {OVERWRITE}")

    def _is_beside_source(self) -> bool:
        return self._folder is not None and os.path.samefile(self._folder, self.path.parent)

    def _check_locations(self) -> None:
        for location in self._locations:
            source, target = self._source(location), self.path.parent / location
            if self.path == target or (self.path.exists() and os.path.samefile(source, self.path)):
                raise UsageError(f"{self._shown} is a data file of the input: name another file")
            if not self._moves or not target.exists():
                continue
            if _is_same_data(source, target):
                self._present.add(location)
            elif not self._overwrite:
                raise UsageError(
                    f"{target} exists and is not the data file that the result needs: choose another folder, or say "
                    f"{OVERWRITE}"
                )

    def _source(self, location: str) -> Path:
        assert self._folder is not None  # a model in memory has no external data, see load_model
        return self._folder / location

    # -- writing ---------------------------------------------------------------------------------------------------

    def stage(self, model: onnx.ModelProto) -> Path:
        """Writes a result, and what belongs to it, under temporary names.

        Args:
            model: The result. Its external weights are those of the source.

        Returns:
            The file, which can be loaded by its path. Asked for again, it is the same one.

        Raises:
            ModelError: It cannot be written.
        """
        if self._staged is not None and self._model is model:
            return self._staged
        self._remove_temporary()
        with self._explained():
            light, renamed = self._place_data(model)
            staged = self._temporary_name(self.path, ".onnx")
            with relocated(light, renamed):
                write_file(staged, light.SerializeToString(deterministic=True))
        self._final = {temporary: location for location, temporary in renamed.items()}
        self._model, self._staged = model, staged
        return staged

    def commit(self) -> None:
        """Gives the staged result its name; an existing file is replaced.

        Raises:
            ModelError: It cannot be written.
        """
        if self._staged is None:
            raise ValueError("nothing was staged")
        with self._explained():
            self._name_locations(self._staged)
            take_mode(self._staged, self.path)
            with _uninterrupted():
                self._rename()
            fsync_folder(self.path.parent)

    def _rename(self) -> None:
        """The data files first: until the model has its name as well, nothing refers to them."""
        new: list[Path] = []
        try:
            for temporary, target in list(self._temporary.items()):
                existed = target.exists()
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, target)
                del self._temporary[temporary]
                if not existed:
                    new.append(target)
        except OSError:
            for target in new:
                target.unlink(missing_ok=True)
            raise
        self.written = True

    def _place_data(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
        """Writes the data files; returns the model without their weights, and their temporary names by location."""
        used = dict.fromkeys(Place.of(t).location for t in tensors(model.graph) if is_external(t))
        renamed: dict[str, str] = {}
        for location in used if self._moves else ():
            source, target = self._source(location), self.path.parent / location
            if location in self._present:
                continue
            temporary = self._temporary_name(target)
            if not copy_file(source, temporary, self._link):
                self.notes.append(f"{location} was copied: it could not be linked")
            renamed[location] = temporary.name
        if self._outside or inline_bytes(model) > INLINE_LIMIT:
            target = self._fresh(used)
            temporary = self._temporary_name(target)
            model = write_outside(model, temporary, target.name)
            renamed[target.name] = temporary.name
            self.notes.append(f"the weights are in {target.name}: keep it beside {self.path.name}")
        return model, renamed

    def _fresh(self, used: Mapping[str, None]) -> Path:
        """A name for a new data file that no file of the source has."""
        name = f"{self.path.name}.data"
        while name in used or name in self._locations:
            name = f"{name.removesuffix('.data')}.mari.data"
        target = self.path.parent / name
        if target.exists() and not (self._overwrite or self.path.exists()):
            raise UsageError(f"{target} is in the way of the weights: remove it, or say {OVERWRITE}")
        return target

    def _name_locations(self, staged: Path) -> None:
        if not self._final:
            return
        model = onnx.load(staged, load_external_data=False)
        with relocated(model, self._final):
            os.unlink(staged)
            write_file(staged, model.SerializeToString(deterministic=True))

    def _temporary_name(self, target: Path, suffix: str = "") -> Path:
        path = self.path.parent / _temporary(target.name, self._token, suffix)
        self._temporary[path] = target
        return path

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what the system has to say into one sentence."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                reason = f"no space is left on the disk of {self.path.parent}"
            else:
                reason = error.strerror or str(error)
            raise ModelError(f"{self._shown} cannot be written: {reason}; nothing was written") from error

    @property
    def temporary_files(self) -> tuple[Path, str]:
        """The folder of the files that have no name yet, and a pattern of what they are called until then."""
        return self.path.parent, f".*.{self._token}.tmp*"

    # -- cleaning up -----------------------------------------------------------------------------------------------

    def _remove_temporary(self) -> None:
        for path in self._temporary:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._temporary.clear()
        self._staged = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _uninterrupted():
            self._remove_temporary()


def _check_place(path: Path, shown: str) -> None:
    try:
        os.lstat(path.parent / _temporary(path.name, "0" * 2 * TOKEN_BYTES, ".onnx"))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{shown}: this name is too long for the file system: take a shorter one") from None
    if path.is_dir():
        raise UsageError(f"{shown} is a directory: name a file in it, such as {Path(shown) / 'model.onnx'}")
    if path.exists() and not path.is_file():
        raise UsageError(f"{shown} is not a regular file: name another one")
    if not path.parent.is_dir():
        raise UsageError(f"{shown}: the folder {path.parent} does not exist: make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{shown}: the folder {path.parent} is not writable: change its permissions, or take another")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"{shown} is write-protected: change its permissions, or name another file")


def _temporary(name: str, token: str, suffix: str = "") -> str:
    return f".{name}.{token}.tmp{suffix}"


def _is_same_data(source: Path, target: Path) -> bool:
    return os.path.samefile(source, target) or (target.is_file() and filecmp.cmp(source, target, shallow=False))


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Renaming the files of one result, or removing them, is not to be left half-way by Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
