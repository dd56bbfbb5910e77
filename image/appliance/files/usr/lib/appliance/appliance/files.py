"""Writing a file so that a power cut leaves the old one or the new one, whole."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class File:
    """A file to be written; ``path`` is absolute, and folders that are missing are made for ``owner`` too."""

    path: str
    text: str
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    """Its user and group, as numbers."""
    folder_mode: int = 0o755


def put(file: File, root: Path = Path("/")) -> None:
    """Write it under ``root``. Raises OSError."""
    path = root / file.path.removeprefix("/")
    _make_folder(path.parent, file)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        try:
            os.fchmod(fd, file.mode)
            os.fchown(fd, *file.owner)
            _write(fd, file.text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
    _sync_folder(path.parent)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _make_folder(folder: Path, file: File) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, file)
    folder.mkdir(mode=0o700)
    folder.chmod(file.folder_mode)
    os.chown(folder, *file.owner)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
