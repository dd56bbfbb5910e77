"""What the rules need of this host: files, user files, groups, services, interfaces.

Everything is asked once, when the files are loaded, and what was answered is kept (`Texts`): the processes that have
no right to read those files, and the tools that want to know what the daemon has, load the very same from there.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from gateway.config.source import Opener, open_without_waiting, read_services, read_text, services_text
from gateway.errors import ConfigError
from gateway.netlink.kernel import read_kernel
from gateway.netlink.model import KernelState
from gateway.place import Place, Problem
from gateway.policy.passwords import PasswordFile, parse_passwords
from gateway.policy.users import UserFiles
from gateway.services import Services, parse_services
from gateway.system.privileges import members

OTHERS_MAY = 0o027
"""The mode bits that a passwords file must not have: its group may read it, at most."""

Signature = tuple[int, ...]
"""What changes with a file: its times, size, inode and device."""


@dataclass(frozen=True, slots=True)
class Texts:
    """All that was read for one configuration."""

    #: the settings file
    path: str = ""
    #: path -> text
    files: dict[str, str] = field(default_factory=dict)
    #: those of the files that nobody else may see
    secret: tuple[str, ...] = ()
    #: group -> members; None: there is no such group
    groups: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    #: of the user files
    signatures: dict[str, Signature] = field(default_factory=dict)
    #: services(5); None: whoever loads them asks the host
    services: str | None = None

    @property
    def digest(self) -> str:
        """64 hexadecimal digits (SHA-256) that are others as soon as any text is."""
        return hashlib.sha256(msgspec.json.encode(sorted(self.files.items()))).hexdigest()


class Host(Protocol):
    """Who knows the files of a configuration, and what they speak of."""

    def text(self, path: str) -> str:
        """The text of a file. Raises ConfigError."""

    def passwords(self, path: str) -> str:
        """The text of a passwords file. Raises ConfigError."""

    def mode(self, path: str) -> int:
        """The permissions of a file (inode(7)). Raises OSError."""

    def group(self, name: str) -> frozenset[str] | None:
        """The members of a group; None when there is none of that name."""

    def signature(self, path: str) -> Hashable:
        """What changes with a file. Raises OSError."""

    def services(self) -> Services:
        """The names of TCP ports."""

    def kernel(self) -> KernelState:
        """The interfaces of the host. Raises KernelRefused."""


class ThisHost:
    """The host as it is now; what it answers is noted in ``texts``."""

    def __init__(self, path: str = "", opener: Opener = open_without_waiting) -> None:
        """``path`` is the settings file; ``opener`` is who may open the files."""
        self._opener = opener
        self._path = path
        self._files: dict[str, str] = {}
        self._secret: list[str] = []
        self._groups: dict[str, tuple[str, ...] | None] = {}
        self._signatures: dict[str, Signature] = {}
        self._services: str | None = None

    @property
    def texts(self) -> Texts:
        """What was answered so far."""
        files, groups, signatures = dict(self._files), dict(self._groups), dict(self._signatures)
        return Texts(self._path, files, tuple(self._secret), groups, signatures, self._services)

    def text(self, path: str) -> str:
        """See `Host`."""
        text = self._files[path] = read_text(path, self._opener)
        return text

    def passwords(self, path: str) -> str:
        """See `Host`."""
        self._secret.append(path)
        return self.text(path)

    def mode(self, path: str) -> int:
        """See `Host`; by a descriptor, since whoever opens the file may see more of its folder than this process."""
        return stat.S_IMODE(self._status(path).st_mode)

    def _status(self, path: str) -> os.stat_result:
        file = self._opener(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.fstat(file)
        finally:
            os.close(file)

    def group(self, name: str) -> frozenset[str] | None:
        """See `Host`."""
        found = members(name)
        self._groups[name] = None if found is None else tuple(sorted(found))
        return found

    def signature(self, path: str) -> Signature:
        """See `Host`; by a descriptor, too."""
        found = self._signatures[path] = _signature_of(self._status(path))
        return found

    def services(self) -> Services:
        """See `Host`."""
        self._services = services_text()
        return parse_services(self._services)

    def kernel(self) -> KernelState:
        """See `Host`."""
        return read_kernel()


class SameHost:
    """The host as it was when `Texts` were read; user files that change later are read anew where that is allowed."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._unread = set(texts.files)
        self._unseen = dict(texts.signatures)

    def text(self, path: str) -> str:
        """See `Host`: at the first time as it was, later, when it has changed, as it is."""
        if path in self._unread:
            self._unread.discard(path)
            return self.texts.files[path]
        return read_text(path)

    def passwords(self, path: str) -> str:
        """See `Host`."""
        return self.texts.files[path]

    def mode(self, path: str) -> int:  # noqa: ARG002 - it was good when the texts were read
        """See `Host`."""
        return 0

    def group(self, name: str) -> frozenset[str] | None:
        """See `Host`."""
        found = self.texts.groups.get(name)
        return None if found is None else frozenset(found)

    def signature(self, path: str) -> Hashable:
        """See `Host`."""
        return self._unseen.pop(path, None) or signature(path)

    def services(self) -> Services:
        """See `Host`; not every process may read that file, and all must know the same names."""
        return read_services() if self.texts.services is None else parse_services(self.texts.services)

    def kernel(self) -> KernelState:
        """None: who is told of the host's networks by others does not ask."""
        return KernelState()


def signature(path: str) -> Signature:
    """Of a file as it is now. Raises OSError."""
    return _signature_of(os.stat(path))


def _signature_of(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def folders(paths: Iterable[str]) -> tuple[str, ...]:
    """Where these files lie, and where symbolic links on the way do: both are replaced by others of the same name."""
    found: dict[str, None] = {}
    for path in paths:
        found[os.path.dirname(os.path.realpath(path))] = None
        found.update(dict.fromkeys(_folders_of_links(path)))
    return tuple(found)


def _folders_of_links(path: str) -> Iterator[str]:
    parts = path.split(os.sep)
    for end in range(2, len(parts) + 1):
        part = os.sep.join(parts[:end])
        if os.path.islink(part):
            yield os.path.dirname(os.path.realpath(os.path.dirname(part)) + os.sep)


def user_files(report: Callable[[str], None], host: Host | None = None) -> UserFiles:
    """The user files and groups of a host, this one by default; ``report`` is told of files that turn unreadable."""
    host = host or ThisHost()
    return UserFiles(host.text, host.signature, time.monotonic, host.group, report)


def read_passwords(path: str, host: Host | None = None) -> PasswordFile:
    """A passwords file. Raises ConfigError, also when others than its owner and group may read or change it."""
    host = host or ThisHost()
    passwords = parse_passwords(host.passwords(path), path)
    mode = host.mode(path)
    if mode & OTHERS_MAY:
        fault = f"mode {mode:04o} lets others read or change it; use: chmod 600 {path}"
        raise ConfigError([Problem(Place(path), fault)])
    return passwords
