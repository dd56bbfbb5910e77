"""Asking somebody beyond an uplink whether that uplink works, strictly by it: a TCP connection, or a DNS query.

Who is asked, how often, and what follows from the answers is not decided here (`gateway.uplink.health`).
"""

import asyncio
import os
import socket
import struct
from collections.abc import Mapping, Sequence

from gateway.config.settings import Probe
from gateway.net.egress import bind_to
from gateway.policy.egress import Egress

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_TYPE = {"tcp": socket.SOCK_STREAM, "dns": socket.SOCK_DGRAM}

_QUESTION = struct.pack("!5HBHH", 0x0100, 1, 0, 0, 0, 0, 2, 1)
"""All of a query for the name servers of the root but its id: RD, one question, ``.`` NS IN (RFC 1035 §4.1)."""

_HEADER_BYTES = 12
_RESPONSE_BIT = 0x80
_LONGEST = 512
"""Bytes of an answer that are read: what a DNS message over UDP has at most (RFC 1035 §4.2.1)."""

_MOST_NAMED = 3
"""Faults that a round names."""


async def probe_round(targets: Sequence[Probe], ways: Mapping[int, Egress], timeout: float) -> tuple[bool, str]:
    """Ask all targets at once, each by the way out of its family (4, 6), for at most ``timeout`` seconds.

    True, and no words, as soon as one answers; else False, and who did not answer and why. A target of a family that
    has no way out has failed. Raises no OSError. When it is over, or is cancelled, no descriptor is left.
    """
    runs = [asyncio.ensure_future(_by_its_way(target, ways, timeout)) for target in targets]
    pending = set(runs)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(run.result() is None for run in done):
                return True, ""
    finally:
        for run in pending:
            run.cancel()
        if pending:
            await asyncio.wait(pending)
    return False, _joined([fault for run in runs if (fault := run.result()) is not None])


async def _by_its_way(target: Probe, ways: Mapping[int, Egress], timeout: float) -> str | None:
    way = ways.get(target.address.version)
    if way is None:
        return _fault(target, f"no IPv{target.address.version} address")
    return await probe(target, way, timeout)


def _joined(faults: Sequence[str]) -> str:
    rest = len(faults) - _MOST_NAMED
    return "; ".join(faults[:_MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


async def probe(target: Probe, egress: Egress, timeout: float) -> str | None:
    """Ask one target by this way and no other: None when it answers within so many seconds, else the fault in words.

    ``tcp``: a connection that is accepted, and also one that is refused, as a RST that comes back proves the way. A
    router that rejects in the target's place looks the same (connect(2) has one ECONNREFUSED for both).
    ``dns``: any answer to a query for the name servers of the root, whatever it says. Raises no OSError; cancelling it
    leaves no descriptor.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            with socket.socket(_FAMILY[target.address.version], _TYPE[target.kind] | socket.SOCK_NONBLOCK) as sock:
                bind_to(sock, egress)
                await _ASK[target.kind](loop, sock, (str(target.address), target.port))
    except TimeoutError:
        return _fault(target, "timed out")
    except OSError as error:
        return _fault(target, _words(error))
    return None


def _words(error: OSError) -> str:
    """The kernel's words alone: those of asyncio name the target once more; resolver errors have negative numbers."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def _fault(target: Probe, words: str) -> str:
    return f"{target.address} port {target.port}: {words}"


async def _connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, where: tuple[str, int]) -> None:
    try:
        await loop.sock_connect(sock, where)
    except ConnectionRefusedError:
        return


async def _query(loop: asyncio.AbstractEventLoop, sock: socket.socket, where: tuple[str, int]) -> None:
    # Connected, so that only its own answers come in, and ICMP errors too (udp(7)).
    await loop.sock_connect(sock, where)
    number = os.urandom(2)
    await loop.sock_sendall(sock, number + _QUESTION)
    while not _is_answer(await loop.sock_recv(sock, _LONGEST), number):
        # A flood of datagrams that wait already would never let the loop go on.
        await asyncio.sleep(0)


def _is_answer(data: bytes, number: bytes) -> bool:
    return len(data) >= _HEADER_BYTES and data[:2] == number and bool(data[2] & _RESPONSE_BIT)


_ASK = {"tcp": _connect, "dns": _query}
