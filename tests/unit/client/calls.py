"""The two ways to call: waiting, and on an asyncio loop."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.client import HostEntry, NameServers, Patience, Rgethostbyaddr, Rgethostbyname, TryAgain, aio


class Calls(NamedTuple):
    """Both functions, in one of the ways."""

    by_name: Callable[..., HostEntry]
    by_address: Callable[..., HostEntry]


def _on_a_loop(call: Callable[..., Any]) -> Callable[..., HostEntry]:
    def run(*arguments: Any) -> HostEntry:
        entry: HostEntry = asyncio.run(call(*arguments))
        return entry

    return run


WAYS = {
    "blocking": Calls(Rgethostbyname, Rgethostbyaddr),
    "asyncio": Calls(_on_a_loop(aio.Rgethostbyname), _on_a_loop(aio.Rgethostbyaddr)),
}


def in_time(call: Callable[..., HostEntry], subject: str, servers: NameServers) -> HostEntry:
    """Look up what somebody keeps silent about, with as little patience as this machine allows now."""
    for seconds in (0.1, 0.4, 1.6):
        try:
            return call(subject, servers, Patience(seconds, 1))
        except TryAgain:
            continue
    return call(subject, servers, Patience(6.4, 1))
