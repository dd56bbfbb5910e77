"""What the kernel says about this host, without changing anything."""

import asyncio
import gc
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.netlink import kernel
from gateway.netlink.kernel import Kernel, KernelRefused, own_addresses, read_kernel
from gateway.netlink.model import KernelState
from tests.support.forked import forked
from tests.support.rules import address


def test_loopback_is_there_with_its_address() -> None:
    state = read_kernel()
    (loopback,) = [link for link in state.links if link.name == "lo"]
    held = {(entry.address, entry.prefix): entry for entry in state.addresses if entry.index == loopback.index}
    assert held[address("127.0.0.1"), 8].scope == "host"
    assert loopback.running
    assert loopback.up


def test_what_can_be_bound_is_ours() -> None:
    known = {own.address for own in own_addresses()}
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert address(sock.getsockname()[0]) in known
    for own in own_addresses():
        assert 0 <= own.prefix <= (32 if own.address.version == 4 else 128)


def test_asking_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        own_addresses()
        read_kernel()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_loop_asks_for_itself() -> None:
    async def both() -> bool:
        async with Kernel() as conversation:
            return await conversation.read() == await conversation.read()

    assert asyncio.run(both())


def test_only_routes_by_named_interfaces_are_listed() -> None:
    async def by(devices: tuple[str, ...]) -> int:
        async with Kernel() as conversation:
            return len((await conversation.read(lambda _: devices)).routes)

    everywhere = tuple(link.name for link in read_kernel().links)
    assert asyncio.run(by(())) == asyncio.run(by(("gone0",))) <= len(read_kernel().routes)
    assert asyncio.run(by(everywhere)) == len(read_kernel().routes)


def test_who_names_interfaces_knows_links_and_addresses() -> None:
    seen: list[KernelState] = []

    def devices(state: KernelState) -> tuple[str, ...]:
        seen.append(state)
        return ()

    async def read() -> KernelState:
        async with Kernel() as conversation:
            return await conversation.read(devices)

    found = asyncio.run(read())
    assert seen[-1] == KernelState(found.links, found.addresses)
    assert found.links


class Closed:
    """A host without a netlink socket to give."""

    def __init__(self, **_: bool) -> None:
        self.closed = False

    async def setup_endpoint(self) -> None:
        raise PermissionError(1, "Operation not permitted")

    def close(self) -> None:
        self.closed = True


def test_a_kernel_that_refuses_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "AsyncIPRoute", Closed)
    for ask in (own_addresses, read_kernel):
        with pytest.raises(KernelRefused) as caught:
            ask()
        assert isinstance(caught.value, GatewayError)
        assert str(caught.value) == "cannot open a netlink socket: Operation not permitted"


def test_a_state_that_never_holds_still_is_taken_as_it_was_read_last(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def note(whole: kernel._Whole, _: object) -> bool:
        whole.intact = False
        return False

    def devices(_: KernelState) -> tuple[str, ...]:
        nonlocal read
        read += 1
        return ()

    async def ask() -> KernelState:
        async with Kernel() as conversation:
            return await conversation.read(devices)

    still = read_kernel()
    monkeypatch.setattr(kernel._Whole, "note", note)
    assert asyncio.run(ask()).addresses == still.addresses
    assert read == kernel._TRIES


@pytest.mark.parametrize("ask", [read_kernel, own_addresses])
def test_without_descriptors_it_is_said_in_one_line_and_nothing_goes_to_standard_error(
    ask: Callable[[], object], tmp_path: Path
) -> None:
    def work() -> list[str]:
        said = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 2)
        first = os.dup(said)
        os.close(first)
        told = []
        for room in range(6):
            resource.setrlimit(resource.RLIMIT_NOFILE, (first + room, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            try:
                ask()
            except KernelRefused as error:
                told.append(str(error))
        gc.collect()
        return told

    told = forked(work)
    assert told
    assert all(text.endswith("Too many open files") for text in told)
    assert (tmp_path / "stderr").read_text() == ""
