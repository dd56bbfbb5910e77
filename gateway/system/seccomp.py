"""Seccomp: which system calls this process, and every process that it starts, may still make.

A filter is a list of what is allowed; all else fails with an error number, so that a forgotten call shows itself as an
exception. The kernel's program is made from it by libseccomp 2.5 or newer (seccomp_rule_add(3)), for the architecture
that we run on. Nothing here knows who needs which call.

The kernel remembers which calls are allowed whatever their arguments are, and does not run the program for those
(Linux 5.11): a condition on arguments costs every such call some hundred instructions.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import GatewayError

LIBRARY = "libseccomp.so.2"

ALLOW = 0x7FFF0000
ERROR = 0x00050000
KILL_PROCESS = 0x80000000
"""``SCMP_ACT_*`` of seccomp.h; an error's number is added to ``ERROR``."""

ATTRIBUTES = {
    2: KILL_PROCESS,  # ACT_BADARCH: no other set of system calls, whose numbers mean something else, is let in
    7: 1,  # CTL_SSB: no barrier against speculation in code of our own; it was half the speed before Linux 5.16
    8: 2,  # CTL_OPTIMIZE: a binary tree in place of a list
    9: 1,  # API_SYSRAWRC: the kernel's own error number
}
"""``enum scmp_filter_attr``: all of them are improvements that an older library or kernel may lack."""

MASKED_EQUAL = 7
"""``SCMP_CMP_MASKED_EQ``: (argument & mask) == value."""

NO_SUCH_NAME = -1
"""``__NR_SCMP_ERROR``. Other negative numbers are calls that another architecture has."""

NUMBERS = {
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
    "futex_requeue": 456, "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
}  # fmt: skip
"""Calls that are younger than the library may be; those above 424 have one number on every architecture."""


class NoSeccomp(GatewayError):
    """No filter can be set here; the message says why."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A condition: the bits of ``mask`` in the argument at this place, from 0, are those of ``value``.

    Unless told otherwise the lower 32 bits count: of an ``int`` the kernel sees no others.
    """

    place: int
    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """Calls, by name or number, that are allowed when all conditions hold, or answered with an error number."""

    calls: tuple[str | int, ...]
    conditions: tuple[Argument, ...] = ()
    error: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a process may do; ``refusal`` is the error number of everything else."""

    rules: tuple[Rule, ...]
    refusal: int = errno.EPERM


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("place", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def load(wanted: Filter, library: str = LIBRARY) -> None:
    """Hold this process to a filter, for ever. Sets no_new_privs.

    Names that this architecture does not have are left out. Processes and threads that are started later are held to
    it as well, threads that run already are not. Raises NoSeccomp.
    """
    functions = _functions(library)
    with _context(functions, wanted.refusal) as context:
        for rule in wanted.rules:
            _add(functions, context, rule)
        result = functions.seccomp_load(context)
    if result == -errno.EINVAL:
        raise NoSeccomp("this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")
    if result:
        raise NoSeccomp(f"the kernel refuses a seccomp filter: {os.strerror(-result)}")


def _functions(library: str) -> ctypes.CDLL:
    try:
        functions = ctypes.CDLL(library)
        functions.seccomp_init.restype = ctypes.c_void_p
    except (OSError, AttributeError):
        raise NoSeccomp(f"{library} is not installed (apt-get install libseccomp2)") from None
    functions.seccomp_init.argtypes = [ctypes.c_uint32]
    functions.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    functions.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    functions.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    functions.seccomp_load.argtypes = [ctypes.c_void_p]
    functions.seccomp_release.argtypes = [ctypes.c_void_p]
    functions.seccomp_release.restype = None
    return functions


@contextlib.contextmanager
def _context(functions: ctypes.CDLL, refusal: int) -> Iterator[int]:
    """A filter in the making, which refuses everything."""
    context: int | None = functions.seccomp_init(ERROR + refusal)
    if context is None:
        raise NoSeccomp("libseccomp does not know this kernel or architecture")
    try:
        for attribute, value in ATTRIBUTES.items():
            functions.seccomp_attr_set(context, attribute, value)
        yield context
    finally:
        functions.seccomp_release(context)


def _add(functions: ctypes.CDLL, context: int, rule: Rule) -> None:
    action = ALLOW if rule.error is None else ERROR + rule.error
    conditions = [_Comparison(test.place, MASKED_EQUAL, test.mask, test.value) for test in rule.conditions]
    array = (_Comparison * len(conditions))(*conditions)
    for call in rule.calls:
        number = _number(functions, call)
        if number == NO_SUCH_NAME:
            continue
        result = functions.seccomp_rule_add_array(context, action, number, len(conditions), array)
        if result and number >= 0:
            raise NoSeccomp(f"libseccomp refuses the rule about {call}: {os.strerror(-result)}")


def _number(functions: ctypes.CDLL, call: str | int) -> int:
    if isinstance(call, int):
        return call
    number: int = functions.seccomp_syscall_resolve_name(call.encode("ascii"))
    return NUMBERS.get(call, NO_SUCH_NAME) if number == NO_SUCH_NAME else number
