"""Landlock: which files and folders this process, and every process that it starts, can still open.

The kernel's own three system calls, without a library (landlock(7), Documentation/userspace-api/landlock.rst). A
restriction is for ever, can only become narrower, and holds beside the file permissions, also for root. Connections by
TCP are not restricted, nor is connecting to a Unix socket that has a path. Nothing here knows who needs which file.
"""

import ctypes
import enum
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence

from gateway.errors import GatewayError
from gateway.system.privileges import forbid_new_privileges

CREATE_RULESET = 444
ADD_RULE = 445
RESTRICT_SELF = 446
"""Numbers of the system calls: those above 424 are the same on every architecture."""

CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

Call = Callable[..., int]
"""syscall(2): its number and arguments, integers or bytes; returns its result. Raises OSError."""


class NoLandlock(GatewayError):
    """This kernel can not restrict; the message says why."""


class Access(enum.IntFlag):
    """What may be done with a file or folder: ``LANDLOCK_ACCESS_FS_*`` of linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


class Scope(enum.IntFlag):
    """What does not leave the restricted processes: ``LANDLOCK_SCOPE_*`` of linux/landlock.h."""

    NOTHING = 0
    ABSTRACT_UNIX_SOCKET = 1 << 0
    SIGNAL = 1 << 1


ACCESS_SINCE = (
    (1, Access(Access.REFER - 1)),
    (2, Access.REFER),
    (3, Access.TRUNCATE),
    (5, Access.IOCTL_DEV),
)
"""The ABI in which the kernel learned to restrict each; ABI 1 is Linux 5.13, 2: 5.19, 3: 6.2, 5: 6.10."""

SCOPES_SINCE = 6
"""The ABI of Linux 6.12."""

READ = Access.READ_FILE | Access.READ_DIR
WRITE = (
    READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.MAKE_REG
    | Access.MAKE_DIR
    | Access.MAKE_SOCK
    | Access.MAKE_FIFO
    | Access.MAKE_SYM
    | Access.REMOVE_FILE
    | Access.REMOVE_DIR
    | Access.REFER
    | Access.IOCTL_DEV
)
"""Everything but devices, which nobody needs to make."""

OF_A_FILE = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
"""A rule about a file with any other right is refused by the kernel."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_WHY = {
    errno.ENOSYS: "this kernel has no Landlock, or a container hides it; Linux 5.13 and newer can have it",
    errno.EOPNOTSUPP: "Landlock was not chosen at boot; add landlock to lsm= on the kernel's command line",
}


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """syscall(2). Raises OSError."""
    values = (value if isinstance(value, bytes | None) else ctypes.c_long(value) for value in arguments)
    result: int = _LIBC.syscall(ctypes.c_long(number), *values)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def restrict(
    readable: Sequence[str],
    writable: Sequence[str],
    executable: Sequence[str] = (),
    scopes: Scope = Scope.NOTHING,
    call: Call = syscall,
) -> int:
    """From now on only these files, and what lies below these folders, can be opened; the kernel's ABI.

    What is ``writable`` is readable too, what is ``executable`` also; a path that does not exist is left out. Symbolic
    links are followed now: an access by way of a link needs a rule about where it leads. What is open stays usable.
    Sets no_new_privs. To be called before there are threads. Raises NoLandlock.
    """
    abi = _abi(call)
    handled = _known(abi)
    try:
        ruleset = _ruleset(handled, scopes if abi >= SCOPES_SINCE else Scope.NOTHING, call)
        try:
            for path, access in _rules(readable, writable, executable):
                _allow(ruleset, path, access & handled, call)
            forbid_new_privileges()
            call(RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise NoLandlock(f"the kernel refuses a Landlock rule: {error.strerror}") from None
    return abi


def _abi(call: Call) -> int:
    try:
        return call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    except OSError as error:
        raise NoLandlock(_WHY.get(error.errno or 0, f"the kernel refuses Landlock: {error.strerror}")) from None


def _known(abi: int) -> Access:
    """All that this kernel can restrict."""
    known = Access(0)
    for since, access in ACCESS_SINCE:
        if abi >= since:
            known |= access
    return known


def _ruleset(handled: Access, scopes: Scope, call: Call) -> int:
    """A new set of rules: what they can allow is refused everywhere else."""
    # struct landlock_ruleset_attr: files, TCP ports, scopes. An older kernel takes a longer one whose rest is 0.
    attributes = struct.pack("=QQQ", handled, 0, scopes)
    return call(CREATE_RULESET, attributes, len(attributes), 0)


def _rules(readable: Sequence[str], writable: Sequence[str], executable: Sequence[str]) -> Iterator[tuple[str, Access]]:
    yield from ((path, READ) for path in readable)
    yield from ((path, WRITE) for path in writable)
    yield from ((path, READ | Access.EXECUTE) for path in executable)


def _allow(ruleset: int, path: str, access: Access, call: Call) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what can not be reached needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            access &= OF_A_FILE
        # struct landlock_path_beneath_attr, which is packed
        call(ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", access, beneath), 0)
    finally:
        os.close(beneath)
