"""What the rules need of this host: user files, groups, and a passwords file that nobody else can read."""

import os
import stat
import time
from collections.abc import Callable, Hashable

from gateway.config.source import read_text
from gateway.errors import ConfigError
from gateway.place import Place, Problem
from gateway.policy.passwords import PasswordFile, parse_passwords
from gateway.policy.users import UserFiles
from gateway.system.privileges import members

OTHERS_MAY = 0o027
"""The mode bits that a passwords file must not have: its group may read it, at most."""


def user_files(report: Callable[[str], None]) -> UserFiles:
    """The user files and groups of this host; ``report`` is told of files that can not be read any more."""
    return UserFiles(read_text, _signature, time.monotonic, members, report)


def _signature(path: str) -> Hashable:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def read_passwords(path: str) -> PasswordFile:
    """A passwords file. Raises ConfigError, also when others than its owner and group may read or change it."""
    passwords = parse_passwords(read_text(path), path)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & OTHERS_MAY:
        fault = f"mode {mode:04o} lets others read or change it; use: chmod 600 {path}"
        raise ConfigError([Problem(Place(path), fault)])
    return passwords
