"""Seccomp filters: what they let through, what they answer, and what is said where there are none."""

import ctypes
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.system import privileges, seccomp
from gateway.system.seccomp import Argument, Filter, NoSeccomp, Rule, load
from tests.support.forked import forked


def has_library() -> bool:
    try:
        seccomp._functions(seccomp.LIBRARY)
    except NoSeccomp:
        return False
    return True


needs_library = pytest.mark.skipif(not has_library(), reason="needs libseccomp: apt-get install libseccomp2")

NEEDED = """exit exit_group rt_sigreturn rt_sigaction rt_sigprocmask futex brk mmap munmap mprotect mremap madvise read
    write close fstat newfstatat lseek openat ioctl getpid gettid rseq set_robust_list getrandom dup clone fcntl
    sched_getaffinity clock_gettime prctl"""
PYTHON = Rule(tuple(NEEDED.split()))
"""What every attempt here needs."""

NO_CLONE3 = Rule(("clone3",), error=errno.ENOSYS)


def filtered(attempt: Callable[[], Any], *rules: Rule, refusal: int = errno.EPERM) -> Any:
    """What comes of an attempt in a process that is held to these rules."""

    def life() -> Any:
        load(Filter((PYTHON, *rules), refusal))
        return attempt()

    return forked(life)


def made(family: int, kind: int = socket.SOCK_DGRAM) -> str:
    with socket.socket(family, kind):
        return "let"


@needs_library
def test_what_is_listed_is_allowed_and_all_else_refused() -> None:
    assert filtered(os.getppid) == -1
    assert filtered(os.getppid, Rule(("getppid",))) == os.getpid()
    assert filtered(lambda: os.mkdir("/nonexistent/folder")) == "EPERM"
    assert filtered(lambda: os.mkdir("/nonexistent/folder"), refusal=errno.EACCES) == "EACCES"
    assert filtered(lambda: os.mkdir("/nonexistent/folder"), Rule(("mkdir", "mkdirat"))) == "ENOENT"


@needs_library
def test_a_call_can_be_answered_as_by_a_kernel_that_does_not_have_it() -> None:
    assert filtered(lambda: os.pidfd_open(os.getpid()), Rule(("pidfd_open",), error=errno.ENOSYS)) == "ENOSYS"


@needs_library
def test_a_call_that_nobody_knows_is_answered_by_its_number() -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def unknown(number: int) -> str:
        assert libc.syscall(ctypes.c_long(number)) == -1
        return errno.errorcode[ctypes.get_errno()]

    rule = Rule(tuple(range(500, 512)), error=errno.ENOSYS)
    assert filtered(lambda: [unknown(499), unknown(500), unknown(511)], rule) == ["EPERM", "ENOSYS", "ENOSYS"]


@needs_library
def test_a_condition_decides_by_an_argument() -> None:
    rule = Rule(("socket",), (Argument(0, socket.AF_UNIX),))
    assert filtered(lambda: made(socket.AF_UNIX), rule) == "let"
    assert filtered(lambda: made(socket.AF_INET), rule) == "EPERM"
    assert filtered(lambda: made(socket.AF_NETLINK), rule) == "EPERM"


@needs_library
def test_all_conditions_of_a_rule_must_hold_and_one_rule_is_enough() -> None:
    rules = (
        Rule(("socket",), (Argument(0, socket.AF_UNIX), Argument(1, socket.SOCK_DGRAM, 0xF))),
        Rule(("socket",), (Argument(0, socket.AF_INET), Argument(1, socket.SOCK_STREAM, 0xF))),
    )
    assert filtered(lambda: made(socket.AF_UNIX, socket.SOCK_DGRAM), *rules) == "let"
    assert filtered(lambda: made(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK), *rules) == "let"
    assert filtered(lambda: made(socket.AF_UNIX, socket.SOCK_STREAM), *rules) == "EPERM"
    assert filtered(lambda: made(socket.AF_INET, socket.SOCK_DGRAM), *rules) == "EPERM"


@needs_library
def test_the_upper_half_of_an_argument_hides_nothing() -> None:
    """The kernel sees an ``int``; a comparison of 64 bits could be told something else."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = seccomp._number(seccomp._functions(seccomp.LIBRARY), "socket")

    def raw(family: int) -> int:
        return int(libc.syscall(ctypes.c_long(number), ctypes.c_long(family | 1 << 40), ctypes.c_long(2), 0))

    rule = Rule(("socket",), (Argument(0, socket.AF_UNIX),))
    assert filtered(lambda: raw(socket.AF_UNIX) > 2, rule) is True
    assert filtered(lambda: raw(socket.AF_INET), rule) == -1
    refused = Rule(("socket",), (Argument(0, socket.AF_UNIX),), errno.EACCES)
    assert filtered(lambda: made(socket.AF_UNIX), refused) == "EACCES"


@needs_library
def test_threads_and_children_are_held_to_it_too() -> None:
    said: list[str] = []

    def attempt() -> str:
        try:
            os.mkdir("/nonexistent/folder")
        except PermissionError:
            return "refused"
        except OSError:
            return "let"
        return "made"

    def threaded() -> list[str]:
        thread = threading.Thread(target=lambda: said.append(attempt()))
        thread.start()
        thread.join()
        return said

    assert filtered(threaded, NO_CLONE3) == ["refused"]
    children = Rule(("fork", "wait4", "pipe2", "exit_group", "rt_sigprocmask", "alarm", "setitimer"))
    assert filtered(lambda: forked(attempt), children, NO_CLONE3) == "refused"


@needs_library
def test_a_second_filter_only_takes_away() -> None:
    def life() -> Any:
        load(Filter((PYTHON, Rule(("mkdir", "mkdirat", "getppid", "seccomp")))))
        load(Filter((PYTHON, Rule(("mkdir", "mkdirat", "rmdir")))))
        outcomes = []
        for attempt in (os.mkdir, os.rmdir):
            try:
                attempt("/nonexistent/folder")
            except OSError as error:
                outcomes.append(errno.errorcode[error.errno or 0])
        return outcomes

    assert forked(life) == ["ENOENT", "EPERM"]


@needs_library
def test_a_filter_is_seen_in_the_status_of_the_process_with_no_new_privileges() -> None:
    what = filtered(lambda: (privileges.privileges_of().seccomp, privileges.privileges_of().no_new_privs))
    assert what == ("filter", True)


@needs_library
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs a machine with two sets of system calls: x86_64")
def test_the_other_set_of_system_calls_of_a_machine_ends_the_process() -> None:
    """x32's getpid(2): the bit would make another number of each call."""

    def life() -> int:
        load(Filter((PYTHON,)))
        return int(ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39)))

    with pytest.raises(AssertionError, match=f"ended with -{signal.SIGSYS.value} "):
        forked(life)


@needs_library
def test_names_of_other_architectures_and_of_nobody_are_left_out() -> None:
    names = Rule(("no_such_call", "riscv_flush_icache", "recv", "mmap2", "getppid"))
    assert filtered(os.getppid, names) == os.getpid()


@needs_library
def test_calls_that_are_younger_than_the_library_have_their_numbers() -> None:
    functions = seccomp._functions(seccomp.LIBRARY)
    known = {name: functions.seccomp_syscall_resolve_name(name.encode()) for name in seccomp.NUMBERS}
    assert {name: number for name, number in known.items() if number != seccomp.NO_SUCH_NAME}.items() <= (
        seccomp.NUMBERS.items()
    )
    assert seccomp._number(functions, "mseal") == 462
    assert seccomp._number(functions, "no_such_call") == seccomp.NO_SUCH_NAME


# Where there are none


def test_without_the_library_that_is_said_with_its_package() -> None:
    with pytest.raises(NoSeccomp) as caught:
        load(Filter((PYTHON,)), "libno-such-library.so.2")
    assert str(caught.value) == "libno-such-library.so.2 is not installed (apt-get install libseccomp2)"


def test_a_library_of_another_kind_is_not_taken_for_it() -> None:
    with pytest.raises(NoSeccomp, match=r"libc\.so\.6 is not installed"):
        load(Filter((PYTHON,)), "libc.so.6")


WITHOUT = [
    pytest.param(errno.EINVAL, "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)", id="not built in"),
    pytest.param(errno.EACCES, "the kernel refuses a seccomp filter: Permission denied", id="refused"),
]


@needs_library
@pytest.mark.parametrize(("number", "why"), WITHOUT)
def test_a_kernel_without_filters_is_told_apart(number: int, why: str) -> None:
    """The first filter makes the kernel answer as one would that has none."""

    def life() -> str:
        try:
            load(Filter((PYTHON,)))
        except NoSeccomp as error:
            return str(error)
        return "loaded"

    refused = (Rule(("seccomp",), error=number), Rule(("prctl",), (Argument(0, 22),), number))
    rest = Rule(tuple(name for name in PYTHON.calls if name != "prctl"))
    options = tuple(Rule(("prctl",), (Argument(0, option),)) for option in (21, 38, 39))

    def held() -> str:
        load(Filter((rest, *options, *refused)))
        return life()

    assert forked(held) == why


@needs_library
def test_a_rule_that_can_not_be_is_told_by_its_call() -> None:
    with pytest.raises(NoSeccomp, match=r"libseccomp refuses the rule about getppid: Invalid argument"):
        load(Filter((Rule(("getppid",), (Argument(7, 0),)),)))
