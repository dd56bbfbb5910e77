"""Giving up what this process may do, in the one order in which it works, and reading what a process may do.

Everything is asked of the kernel directly: prctl(2), capset(2), proc_pid_status(5). Nothing here knows which process
of the daemon needs what.
"""

import ctypes
import grp
import itertools
import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import StartError

CAP_DAC_OVERRIDE = 1
CAP_SETPCAP = 8
CAP_NET_BIND_SERVICE = 10
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
"""capabilities(7); linux/capability.h."""

CAPABILITIES = (
    "cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill", "cap_setgid",
    "cap_setuid", "cap_setpcap", "cap_linux_immutable", "cap_net_bind_service", "cap_net_broadcast", "cap_net_admin",
    "cap_net_raw", "cap_ipc_lock", "cap_ipc_owner", "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot",
    "cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice", "cap_sys_resource",
    "cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write", "cap_audit_control",
    "cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog", "cap_wake_alarm", "cap_block_suspend",
    "cap_audit_read", "cap_perfmon", "cap_bpf", "cap_checkpoint_restore",
)  # fmt: skip
"""Their names by number."""

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
"""prctl(2); linux/prctl.h."""

CAPABILITY_VERSION = 0x20080522
"""``_LINUX_CAPABILITY_VERSION_3``: sets of 64 bits, in two halves (capget(2))."""

SECCOMP_MODES = ("off", "strict", "filter")

_LIBC = ctypes.CDLL(None, use_errno=True)


class Account(NamedTuple):
    """A user and group by number."""

    user: int
    group: int


@dataclass(frozen=True, slots=True)
class Privileges:
    """What a process may do: its effective user and group, and what it can not get back once it is gone.

    ``capabilities`` holds the names of those in effect or permitted, such as ``cap_net_admin``; ``seccomp`` is one of
    `SECCOMP_MODES`.
    """

    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    no_new_privs: bool
    seccomp: str


def account_of(name: str) -> Account:
    """The numbers of a user. Raises StartError."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise StartError(f"[sockd] user: there is no user {name!r} on this host") from None
    return Account(entry.pw_uid, entry.pw_gid)


def members(group: str) -> frozenset[str] | None:
    """The users of a group, those whose main group it is included; None when there is no such group."""
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return None
    primary = (user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid)
    return frozenset((*entry.gr_mem, *primary))


def drop(account: Account | None, keep: Collection[int] = ()) -> None:
    """Become ``account`` (None: stay who this is) and lose every capability that is not in ``keep``, for ever.

    Who is not root can not become another user and stays who it is, but loses its capabilities too. What was not
    permitted before is not gained. Raises StartError when root may not, as in a container without those capabilities.
    """
    permitted = _permitted()
    is_root = os.geteuid() == 0
    _limit(keep)
    if is_root:
        _become(account, bool(keep))
    try:
        _set_capabilities(permitted & _mask(keep))
        if is_root or permitted:
            # What was privileged may hold what it read then: no process of the same user shall look into it. Whoever
            # never was may be looked into by its owner's debugger.
            prctl(PR_SET_DUMPABLE, 0)
        forbid_new_privileges()
    except OSError as error:
        raise StartError(f"cannot give up capabilities: {error.strerror}") from None


def _limit(keep: Collection[int]) -> None:
    """No program started from here on can have more than ``keep``: while CAP_SETPCAP is still there."""
    try:
        if has_capability(CAP_SETPCAP):
            for number in _bounding():
                if number not in keep:
                    prctl(PR_CAPBSET_DROP, number)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        raise StartError(f"cannot reduce the capability bounding set: {error.strerror}") from None


def _bounding() -> list[int]:
    """The capabilities in the bounding set; the first number that the kernel does not know is EINVAL."""
    found = []
    for number in itertools.count():
        try:
            if prctl(PR_CAPBSET_READ, number):
                found.append(number)
        except OSError:
            break
    return found


def _become(account: Account | None, keeps: bool) -> None:
    """Supplementary groups first, then group, then user: each step needs what the next one takes away."""
    try:
        if os.getgroups():
            os.setgroups([])
    except OSError as error:
        raise StartError(f"cannot leave the supplementary groups: {error.strerror}") from None
    if account is None:
        return
    user, group = account
    try:
        if keeps:
            prctl(PR_SET_KEEPCAPS, 1)
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        if keeps:
            prctl(PR_SET_KEEPCAPS, 0)
    except OSError as error:
        raise StartError(f"cannot become user {user} of group {group}: {error.strerror}") from None


def forbid_new_privileges() -> None:
    """No set-user-ID program gives this process or its children anything any more (``PR_SET_NO_NEW_PRIVS``)."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def prctl(option: int, value: int = 0) -> int:
    """prctl(2) with numbers only. Raises OSError."""
    # All five arguments: some options refuse what was left in the registers of those not given.
    result: int = _LIBC.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))
    _check(result)
    return result


def _permitted() -> int:
    """The permitted set of this process, as bits."""
    header, sets = _capability_header(), (ctypes.c_uint32 * 6)()
    _check(_LIBC.capget(header, sets))
    return int(sets[1]) | int(sets[4]) << 32


def _set_capabilities(wanted: int) -> None:
    """Permitted and in effect are these bits, inheritable is nothing."""
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    _check(_LIBC.capset(_capability_header(), (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)))


def _capability_header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _mask(numbers: Collection[int]) -> int:
    return sum(1 << number for number in set(numbers))


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect (proc_pid_status(5), ``CapEff``)."""
    return bool(int(_status("self").get("CapEff", "0"), 16) >> number & 1)


def privileges_of(pid: int | None = None) -> Privileges:
    """What a process may do, None: this one. Raises OSError when it has gone, or /proc does not show it."""
    status = _status("self" if pid is None else str(pid))
    held = int(status["CapEff"], 16) | int(status["CapPrm"], 16)
    # "real, effective, saved, file system"
    user, group = (int(status[key].split()[1]) for key in ("Uid", "Gid"))
    return Privileges(
        user,
        group,
        tuple(map(int, status["Groups"].split())),
        tuple(_name(number) for number in range(held.bit_length()) if held >> number & 1),
        status.get("NoNewPrivs") == "1",
        SECCOMP_MODES[int(status.get("Seccomp", "0"))],
    )


def _name(number: int) -> str:
    return CAPABILITIES[number] if number < len(CAPABILITIES) else f"cap_{number}"


def _status(process: str) -> Mapping[str, str]:
    """The lines of proc_pid_status(5) by their names."""
    with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as lines:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
