"""Giving up root, in the one order in which it works."""

import grp
import os
import pwd
from typing import NamedTuple

from gateway.errors import StartError

CAP_NET_ADMIN = 12
"""capabilities(7); linux/capability.h."""


class Account(NamedTuple):
    """A user and group by number."""

    user: int
    group: int


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


def drop(account: Account) -> None:
    """Become that user for ever, if this process is root: supplementary groups first, then group, then user.

    Raises StartError when root may not, as in a container without those capabilities.
    """
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(account.group, account.group, account.group)
        os.setresuid(account.user, account.user, account.user)
    except OSError as error:
        raise StartError(f"cannot become user {account.user} of group {account.group}: {error.strerror}") from None


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect (proc_pid_status(5), ``CapEff``)."""
    with open("/proc/self/status") as status:
        effective = next((line.split()[1] for line in status if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> number & 1)
