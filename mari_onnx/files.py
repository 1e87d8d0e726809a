"""Files: written to the disk before they are called finished, copied without reading holes."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path

CHUNK = 64 << 20
"""Bytes copied in one call, between which Ctrl-C is heard."""


def write_file(path: Path, content: bytes) -> None:
    """Writes a new file and waits until it is on the disk."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_over(path: Path, content: bytes) -> None:
    """Writes a file in one step, whatever is there; what is no plain file is written to as it is."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write_file(temporary, content)
        take_mode(temporary, path)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def take_mode(path: Path, model: Path) -> None:
    """Gives a file the permissions of the one that it will replace."""
    if model.exists():
        os.chmod(path, stat.S_IMODE(model.stat().st_mode))


def fsync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def copy_file(source: Path, target: Path, link: bool = False) -> bool:
    """Makes a new file with the content of another one.

    Args:
        source: The file.
        target: The new one.
        link: Whether to make a hard link, if the file system can.

    Returns:
        Whether it is what was asked for: false for a copy in place of a link.
    """
    if link:
        try:
            os.link(os.path.realpath(source), target)
            return True
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES, errno.ENOSYS):
                raise
    with open(source, "rb") as read, open(target, "xb") as written:
        try:
            _copy_ranges(read.fileno(), written.fileno())
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            # This system, or this file system, copies plainly or not at all.
            os.lseek(read.fileno(), 0, os.SEEK_SET)
            os.ftruncate(written.fileno(), 0)
            shutil.copyfileobj(read, written, CHUNK)
        written.flush()
        os.fsync(written.fileno())
    return not link


def _copy_ranges(source: int, target: int) -> None:
    """Copies what holds data inside the kernel, which shares blocks where the file system can; leaves holes out."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        while start < end:
            copied = os.copy_file_range(source, target, min(CHUNK, end - start), start, start)
            if not copied:
                raise OSError(errno.EIO, "the file was cut off while it was copied")
            start += copied
