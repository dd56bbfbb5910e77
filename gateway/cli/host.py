"""What the tools need of the host to judge a ``sockd.conf`` that no gateway.toml goes with."""

import os
import time
from collections.abc import Callable, Hashable

from gateway.config.source import read_text
from gateway.policy.users import UserFiles
from gateway.system.privileges import members


def user_files(report: Callable[[str], None]) -> UserFiles:
    """The user files and groups of this host."""
    return UserFiles(read_text, _signature, time.monotonic, members, report)


def _signature(path: str) -> Hashable:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
