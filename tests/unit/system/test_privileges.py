"""Users and groups of the host, giving up what a process may do for ever, and reading what it may do."""

import ctypes
import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Collection
from typing import Any

import pytest

from gateway.errors import StartError
from gateway.system import privileges
from gateway.system.privileges import (
    CAP_NET_ADMIN,
    CAP_NET_BIND_SERVICE,
    CAP_SETPCAP,
    CAPABILITIES,
    Account,
    Privileges,
    account_of,
    drop,
    has_capability,
    members,
    prctl,
    privileges_of,
)
from tests.support.forked import forked

NOBODY = Account(65534, 65533)
PR_GET_DUMPABLE = 3
PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE = 1, 2

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up; run it as root")
NO_SUCH_CAPABILITY = 64
"""The sets have 64 bits: no kernel knows this one."""


def status(name: str) -> int:
    """A set of this process, by its name in /proc."""
    return int(privileges._status("self")[name], 16)


def bits(numbers: Collection[int]) -> int:
    return sum(1 << number for number in numbers)


def test_the_account_of_a_user() -> None:
    assert account_of("root") == Account(0, 0)
    me = pwd.getpwuid(os.getuid())
    assert account_of(me.pw_name) == Account(me.pw_uid, me.pw_gid)


def test_a_user_who_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(StartError) as caught:
        account_of("no-such-user")
    assert str(caught.value) == "[sockd] user: there is no user 'no-such-user' on this host"


def test_members_are_those_of_the_list_and_those_of_the_main_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", 50, ["fred", "joe"])))
    users = [
        pwd.struct_passwd((name, "x", number, group, "", "/", "/bin/sh"))
        for name, number, group in (("root", 0, 0), ("joe", 1001, 50), ("ann", 1002, 50), ("bob", 1003, 51))
    ]
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    assert members("staff") == frozenset({"fred", "joe", "ann"})


def test_members_of_a_group_that_does_not_exist() -> None:
    assert members("no-such-group") is None


def test_the_group_of_root_has_root() -> None:
    found = members(grp.getgrgid(0).gr_name)
    assert found is not None
    assert "root" in found


# Dropping


def after(*before: Callable[[], object], account: Account | None = None, keep: Collection[int] = ()) -> Any:
    """What a process is after it did these things and dropped its privileges."""

    def life() -> tuple[Privileges, tuple[int, ...], int]:
        for step in before:
            step()
        drop(account, keep)
        return privileges_of(), (*os.getresuid(), *os.getresgid()), prctl(PR_GET_DUMPABLE)

    return forked(life)


@needs_root
def test_root_becomes_another_user_with_nothing_left() -> None:
    what, ids, dumpable = after(lambda: os.setgroups([0, 4]), account=NOBODY)
    assert what == Privileges(NOBODY.user, NOBODY.group, (), (), True, what.seccomp)
    assert ids == (NOBODY.user,) * 3 + (NOBODY.group,) * 3
    assert dumpable == 0


@needs_root
def test_root_stays_root_without_powers_but_those_it_keeps() -> None:
    what, ids, dumpable = after(lambda: os.setgroups([0, 4]), keep=(CAP_NET_ADMIN, CAP_NET_BIND_SERVICE))
    assert what == Privileges(0, 0, (), ("cap_net_bind_service", "cap_net_admin"), True, what.seccomp)
    assert ids == (0,) * 6
    assert dumpable == 0


@needs_root
def test_a_user_can_keep_a_power_that_root_had() -> None:
    what, ids, _ = after(account=NOBODY, keep=(CAP_NET_ADMIN,))
    assert (what.user, what.capabilities) == (NOBODY.user, ("cap_net_admin",))
    assert ids == (NOBODY.user,) * 3 + (NOBODY.group,) * 3


@needs_root
def test_every_set_is_empty_but_for_what_is_kept() -> None:
    def life() -> list[int]:
        drop(None, (CAP_NET_ADMIN,))
        return [status(name) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")]

    kept = bits((CAP_NET_ADMIN,))
    assert forked(life) == [kept, kept, kept, 0, 0]


@needs_root
@pytest.mark.parametrize("account", [None, NOBODY], ids=["root who stays root", "another user"])
def test_what_was_dropped_does_not_come_back(account: Account | None) -> None:
    def life() -> list[str]:
        drop(account)
        attempts: list[Callable[[], object]] = [
            lambda: os.setgroups([0]),
            lambda: os.setresuid(1, 1, 1),
            lambda: os.setresgid(1, 1, 1),
            lambda: privileges._set_capabilities(bits((CAP_NET_ADMIN,))),
            lambda: os.chroot("/"),
            lambda: os.nice(-1),
        ]
        return [outcome(attempt) for attempt in attempts]

    assert set(forked(life)) == {"PermissionError"}


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "let"


@needs_root
def test_a_program_of_root_gets_nothing_back() -> None:
    def life() -> str:
        drop(None)
        return subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout

    lines = dict(line.split(":\t", 1) for line in forked(life).splitlines())
    assert {lines[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}


def ordinary_user_with_net_admin() -> None:
    """As systemd starts one with User= and AmbientCapabilities=."""
    privileges.prctl(privileges.PR_SET_KEEPCAPS, 1)
    os.setgroups([4])
    os.setresgid(NOBODY.group, NOBODY.group, NOBODY.group)
    os.setresuid(NOBODY.user, NOBODY.user, NOBODY.user)
    kept = bits((CAP_NET_ADMIN,))
    sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    privileges._check(privileges._LIBC.capset(privileges._capability_header(), sets))
    arguments = map(ctypes.c_ulong, (PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0))
    privileges._check(privileges._LIBC.prctl(privileges.PR_CAP_AMBIENT, *arguments))
    prctl(privileges.PR_SET_DUMPABLE, 1)


@needs_root
def test_an_ordinary_user_loses_the_powers_it_was_started_with() -> None:
    def life() -> tuple[bool, Privileges, int, int, int]:
        ordinary_user_with_net_admin()
        had = has_capability(CAP_NET_ADMIN) and status("CapAmb") == bits((CAP_NET_ADMIN,))
        drop(Account(1, 1))
        return had, privileges_of(), status("CapAmb"), status("CapInh"), prctl(PR_GET_DUMPABLE)

    had, what, ambient, inheritable, dumpable = forked(life)
    assert had
    assert what == Privileges(NOBODY.user, NOBODY.group, (4,), (), True, what.seccomp)
    assert (ambient, inheritable, dumpable) == (0, 0, 0)


@needs_root
def test_an_ordinary_user_keeps_only_what_it_had() -> None:
    what, _, _ = after(ordinary_user_with_net_admin, keep=(CAP_NET_ADMIN, CAP_NET_BIND_SERVICE))
    assert what.capabilities == ("cap_net_admin",)


def without_any_power() -> None:
    """An ordinary user, whoever runs this."""
    if os.geteuid() == 0:
        os.setresgid(NOBODY.group, NOBODY.group, NOBODY.group)
        os.setresuid(NOBODY.user, NOBODY.user, NOBODY.user)
    prctl(privileges.PR_SET_DUMPABLE, 1)


def test_who_is_not_root_stays_who_it_is_and_open_to_its_owner() -> None:
    def life() -> tuple[object, object, bool, int]:
        without_any_power()
        before = (os.getresuid(), os.getresgid(), os.getgroups())
        drop(Account(65532, 65532))
        now = (os.getresuid(), os.getresgid(), os.getgroups())
        return before, now, privileges_of().no_new_privs, prctl(PR_GET_DUMPABLE)

    before, now, no_new_privs, dumpable = forked(life)
    assert before == now
    assert no_new_privs
    assert dumpable == 1


@needs_root
def test_dropping_twice_is_dropping_once() -> None:
    what, _, _ = after(lambda: drop(NOBODY), account=NOBODY)
    assert (what.user, what.capabilities) == (NOBODY.user, ())


@needs_root
def test_root_without_the_power_to_change_says_so_in_one_line() -> None:
    def life() -> str:
        drop(None)
        try:
            drop(NOBODY)
        except StartError as error:
            return str(error)
        return "let"

    assert forked(life) == "cannot become user 65534 of group 65533: Operation not permitted"


@needs_root
def test_root_that_can_not_leave_its_groups_says_so_in_one_line() -> None:
    def life() -> str:
        os.setgroups([4])
        privileges._set_capabilities(0)
        try:
            drop(None)
        except StartError as error:
            return str(error)
        return "let"

    assert forked(life) == "cannot leave the supplementary groups: Operation not permitted"


@needs_root
def test_what_a_process_needs_of_proc_works_when_nobody_may_look_into_it() -> None:
    def life() -> tuple[bool, str, str]:
        drop(NOBODY)
        prctl(15, ctypes.cast(name := ctypes.c_char_p(b"sockd: worker 1"), ctypes.c_void_p).value or 0)
        assert name.value
        own = f"/proc/self/task/{os.getpid()}/comm"
        with open("/proc/self/comm") as comm:
            first = comm.read().strip()
        with open(own, "w") as comm:
            comm.write("sockd: worker 2")
        with open("/proc/self/comm") as comm:
            return bool(os.listdir("/proc/self/fd")), first, comm.read().strip()

    assert forked(life) == (True, "sockd: worker 1", "sockd: worker 2")


@needs_root
def test_another_process_of_the_same_user_can_not_look_into_it() -> None:
    """With the same user and as few powers, only the kernel's mark keeps the other one out."""
    ours, theirs = os.pipe()
    hold, release = os.pipe()
    victim = os.fork()
    if victim == 0:
        try:
            os.close(release)
            drop(NOBODY)
            os.write(theirs, b"x")
            os.read(hold, 1)
        finally:
            os._exit(0)
    try:
        os.close(hold)
        os.read(ours, 1)

        def life() -> int:
            drop(NOBODY)
            os.close(os.open(f"/proc/{victim}/status", os.O_RDONLY))
            return os.open(f"/proc/{victim}/mem", os.O_RDONLY)

        assert forked(life) == "EACCES"
    finally:
        for descriptor in (release, ours, theirs):
            os.close(descriptor)
        os.waitpid(victim, 0)


# Reading


def test_the_privileges_of_this_process() -> None:
    me = privileges_of()
    assert (me.user, me.group) == (os.geteuid(), os.getegid())
    assert sorted(me.groups) == sorted(os.getgroups())
    assert me == privileges_of(os.getpid())
    assert ("cap_setpcap" in me.capabilities) == has_capability(CAP_SETPCAP)


def test_the_privileges_of_a_process_that_has_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        privileges_of(process.pid)


def test_privileges_are_read_as_the_kernel_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {
        "Uid": "1\t2\t3\t4", "Gid": "5\t6\t7\t8", "Groups": "24 25", "CapPrm": f"{1 << 63 | 1 << 12:016x}",
        "CapEff": f"{1:016x}", "NoNewPrivs": "1", "Seccomp": "2",
    }  # fmt: skip
    monkeypatch.setattr(privileges, "_status", {"7": lines}.__getitem__)
    expected = Privileges(2, 6, (24, 25), ("cap_chown", "cap_net_admin", "cap_63"), True, "filter")
    assert privileges_of(7) == expected


def test_names_stand_at_their_numbers() -> None:
    assert len(CAPABILITIES) == len(set(CAPABILITIES)) == 41
    assert CAPABILITIES[CAP_SETPCAP] == "cap_setpcap"
    assert CAPABILITIES[CAP_NET_ADMIN] == "cap_net_admin"
    assert CAPABILITIES[37] == "cap_audit_read"
    assert CAPABILITIES[40] == "cap_checkpoint_restore"


def test_a_capability_that_no_kernel_knows_is_not_held() -> None:
    assert not has_capability(NO_SUCH_CAPABILITY)
