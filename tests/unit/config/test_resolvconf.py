"""`gateway.config.resolvconf`: the nameserver lines and nothing else."""

import pytest

from gateway.address import Address
from gateway.config.resolvconf import parse_nameservers
from gateway.errors import ConfigError


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_nameservers(text, "resolv.conf")
    return [str(problem) for problem in caught.value.problems]


def test_each_name_server_once_in_its_order() -> None:
    text = "# made by dhclient\ndomain corp.example\nsearch a b\nnameserver 10.0.0.54\n ; x\n"
    text += "\tnameserver 10.0.0.53 extra\nnameserver 10.0.0.54\noptions edns0\nnameserver fe80::1%eth0\n"
    text += "nameserver ::ffff:10.0.0.1\n"
    assert parse_nameservers(text, "resolv.conf") == (
        Address(4, 0x0A000036),
        Address(4, 0x0A000035),
        Address(6, 0xFE80 << 112 | 1),
        Address(4, 0x0A000001),
    )


def test_a_comment_is_no_line() -> None:
    assert faults_of("#nameserver 10.0.0.1\n;nameserver 10.0.0.1\nnameservers 10.0.0.1\n") == [
        "resolv.conf: there is no nameserver line in it"
    ]


def test_every_mistake_is_told() -> None:
    assert faults_of("nameserver\nnameserver ns.example\nnameserver 0.0.0.0\nnameserver 10.0.0.1\n") == [
        "resolv.conf:1: nameserver is followed by an address, not nothing",
        "resolv.conf:2: nameserver is followed by an address, not 'ns.example'",
        "resolv.conf:3: nameserver is followed by an address, not '0.0.0.0'",
    ]
