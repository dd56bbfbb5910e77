"""`gateway.config.hosts`: lines of hosts files, and every mistake with its line."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address, Name
from gateway.config.hosts import HostsLine, parse_hosts
from gateway.errors import ConfigError
from gateway.place import Place


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_hosts(text, "hosts")
    return [str(problem) for problem in caught.value.problems]


def test_an_address_and_its_names_comments_and_empty_lines() -> None:
    text = "# a file\n\n10.0.0.1\tAlpha.Corp.Example  a # the first\n  fd00::1 a\n::ffff:10.0.0.2 b b.\n"
    assert parse_hosts(text, "hosts") == (
        HostsLine(Place("hosts", 3), Address(4, 0x0A000001), (Name("alpha.corp.example"), Name("a"))),
        HostsLine(Place("hosts", 4), Address(6, 0xFD << 120 | 1), (Name("a"),)),
        HostsLine(Place("hosts", 5), Address(4, 0x0A000002), (Name("b"),)),
    )


def test_the_line_ends_of_dos() -> None:
    assert parse_hosts("10.0.0.1 a\r\n\r\n", "hosts")[0].names == (Name("a"),)


def test_an_empty_file_has_no_lines() -> None:
    assert parse_hosts("", "hosts") == ()


def test_every_mistake_is_told() -> None:
    assert faults_of("10.0.0.256 a\n10.0.0.1\n10.0.0.2 a..b ok *.c\nalpha 10.0.0.1\nfe80::1%eth0 x\n") == [
        "hosts:1: '10.0.0.256' is no IPv4 or IPv6 address, which a line begins with",
        "hosts:2: there is no name after the address 10.0.0.1",
        "hosts:3: 'a..b' is no host name: a host name has an empty label",
        "hosts:3: '*.c' is no host name: a host name holds a character other than letters, digits, hyphen and "
        "underscore",
        "hosts:4: 'alpha' is no IPv4 or IPv6 address, which a line begins with",
        "hosts:4: a second address, 10.0.0.1; each has a line of its own",
        "hosts:5: 'fe80::1%eth0' is no IPv4 or IPv6 address, which a line begins with; an address with a zone after "
        "'%' means nothing to other hosts",
    ]


def test_what_can_not_be_seen_is_escaped() -> None:
    assert faults_of("10.0.0.1 a\x1b[2J\n")[0].startswith(r"hosts:1: 'a\x1b[2J' is no host name")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert all(line.names for line in parse_hosts(text, "hosts"))
