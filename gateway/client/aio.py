"""The same calls for programs on an asyncio loop: they wait without holding up anything else.

A look-up that is cancelled leaves nothing open.
"""

import asyncio
import secrets
from collections.abc import Sequence

from gateway.address import Address
from gateway.client.environment import NameServers
from gateway.client.exchange import Heard, Step, Wait
from gateway.client.lookup import Means, Patience, Plan, by_address, by_name
from gateway.client.results import HostEntry
from gateway.client.rgethostbyname import DEFAULT_PATIENCE, environment


async def Rgethostbyname(
    name: str, servers: NameServers | None = None, patience: Patience = DEFAULT_PATIENCE
) -> HostEntry:
    """As `gateway.client.rgethostbyname.Rgethostbyname`, with the same errors."""
    return await _run(by_name(name, servers or environment(), patience, _means()))


async def Rgethostbyaddr(
    address: Address | str, servers: NameServers | None = None, patience: Patience = DEFAULT_PATIENCE
) -> HostEntry:
    """As `gateway.client.rgethostbyname.Rgethostbyaddr`, with the same errors."""
    return await _run(by_address(address, servers or environment(), patience, _means()))


def _means() -> Means:
    return Means(asyncio.get_running_loop().time, secrets.randbits)


async def _run(plan: Plan) -> HostEntry:
    heard: Sequence[Heard] | None = None
    while True:
        try:
            steps = next(plan) if heard is None else plan.send(heard)
        except StopIteration as end:
            entry: HostEntry = end.value
            return entry
        heard = await asyncio.gather(*map(_walk, steps))


async def _walk(step: Step[Heard]) -> Heard:
    came: bool | None = None
    try:
        while True:
            came = await _ready(step.send(came))
    except StopIteration as end:
        heard: Heard = end.value
        return heard
    finally:
        step.close()


async def _ready(wait: Wait) -> bool:
    """Whether it has come; False: the time is over."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if wait.writing else (loop.add_reader, loop.remove_reader)
    add(wait.socket, _settle, future)
    try:
        async with asyncio.timeout_at(wait.until):
            await future
    except TimeoutError:
        return False
    finally:
        remove(wait.socket)
    return True


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
