"""What the kernel says about the addresses of this host."""

import os
import socket

import pytest

from gateway.errors import GatewayError
from gateway.netlink import kernel
from gateway.netlink.kernel import InterfaceAddress, KernelRefused, own_addresses
from tests.support.rules import address


def test_loopback_is_among_them_with_its_prefix() -> None:
    assert InterfaceAddress(address("127.0.0.1"), 8) in own_addresses()


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
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_kernel_that_refuses_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __init__(self) -> None:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kernel, "IPRoute", Refusing)
    with pytest.raises(KernelRefused) as caught:
        own_addresses()
    assert isinstance(caught.value, GatewayError)
    assert str(caught.value).startswith("cannot list the addresses of this host: ")
    assert "\n" not in str(caught.value)
