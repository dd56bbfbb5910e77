"""Names and addresses that mean another host than they seem to: no spelling reaches what the rules do not let through.

``spec/field-cases.md`` §1 (what getaddrinfo() makes of odd names), S7, S8 and S10. Each spelling is sent to the real
daemon while a real server listens on both loopback addresses, so that a spelling that gets through is seen there.
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.daemon import Sockd, sockd
from tests.support.peers import Peer, echo, has_ipv6
from tests.support.rawsocks import Wire, connect5, http, read_reply4, read_status, socks4a

NOT_ALLOWED = 2
BAD_NAME = 1

#: what no resolver may ever see; glibc reads those of the first block as 127.0.0.1
NO_NAMES = (
    ("127.1", "two numbers"),
    ("127.0.1", "three numbers"),
    ("0x7f000001", "one hexadecimal number"),
    ("0x7f.1", "a hexadecimal and a decimal number"),
    ("2130706433", "one decimal number"),
    ("0177.0.0.1", "an octal number"),
    ("127.0.0.01", "a leading zero"),
    ("0", "a bare 0"),
    ("①②⑦.0.0.1", "circled digits"),
    ("ⓛocalhost", "a circled letter"),
    ("ｌｏｃａｌｈｏｓｔ", "full-width letters"),
    ("localhost。", "an ideographic full stop"),
    ("127。0。0。1", "ideographic full stops between numbers"),
    ("[::1]", "an address in brackets"),
    ("[127.0.0.1]", "a quad in brackets"),
    ("[localhost]", "a name in brackets"),
    ("::1%lo", "an address with a zone"),
    ("127.0.0.1.", "a quad with a dot at its end"),
    ("localhost..", "two dots at the end"),
    (".localhost", "an empty label in front"),
    ("a..localhost", "an empty label in the middle"),
    (".", "a dot alone"),
    ("", "nothing"),
    ("localhost\0", "a NUL at the end"),
    ("localhost\0.example.com", "a NUL in the middle"),
    ("localhost\n", "a line feed"),
    ("localhost\r\nX: y", "a line end and a header"),
    (" localhost", "a blank in front"),
    ("local host", "a blank in the middle"),
    ("localhost%00", "a percent escape"),
    ("localhost/", "a slash"),
    ("localhost:80", "a port"),
    ("user@localhost", "a user"),
    ("-localhost", "a hyphen in front"),
    ("local_host!", "an exclamation mark"),
    ("a" * 64 + ".example", "a label of 64 characters"),
    (".".join(["a" * 49] * 5)[:255].ljust(255, "a"), "255 characters"),
    ("\x1b[2Jlocalhost", "an escape sequence"),
    ("\u202elocalhost", "a bidirectional override"),
)

#: other ways to write loopback that are perfectly good names or addresses: the rules must see through them
ALIASES = (
    ("127.0.0.1", "the quad"),
    ("localhost", "the name"),
    ("LOCALHOST", "the name in capitals"),
    ("LocalHost.", "the name with a dot at its end"),
    ("::1", "the IPv6 loopback"),
    ("0:0:0:0:0:0:0:1", "the IPv6 loopback in full"),
    ("::ffff:127.0.0.1", "the quad mapped into IPv6"),
    ("::ffff:7f00:1", "the quad mapped into IPv6, hexadecimal"),
    ("::127.0.0.1", "the quad in an IPv4-compatible address"),
    ("64:ff9b::127.0.0.1", "the quad behind NAT64"),
    ("2002:7f00:1::", "the quad behind 6to4"),
    ("127.255.255.254", "another quad of 127/8"),
    ("0.0.0.0", "the unspecified address"),
    ("::", "the unspecified IPv6 address"),
    ("169.254.169.254", "the metadata service"),
    ("fe80::1", "a link-local address"),
    ("224.0.0.1", "a multicast address"),
    ("255.255.255.255", "the broadcast address"),
)


def cases(table: tuple[tuple[str, str], ...]) -> list[object]:
    return [pytest.param(name, id=title) for name, title in table]


@pytest.fixture
def targets() -> Iterator[tuple[Peer, ...]]:
    """A server on 127.0.0.1, and one on ::1 on the same port if the host has it; whoever connects is seen."""
    with contextlib.ExitStack() as stack:
        four = stack.enter_context(Peer(echo))
        yield (four, stack.enter_context(Peer(echo, "::1", four.port))) if has_ipv6() else (four,)


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon whose one rule permits everything to everybody, without naming any destination."""
    with sockd(tmp_path_factory.mktemp("everywhere"), "permit ALL ALL\n") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def denying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon that denies loopback; permit lines name it too, and what embeds it, but come later."""
    rules = (
        "deny   ALL 127.0.0.0/8\n"
        "deny   ALL ::1/128\n"
        "permit ALL 127.0.0.0/8\n"
        "permit ALL ::/8\n"
        "permit ALL 64:ff9b::/96\n"
        "permit ALL 2002::/16\n"
    )
    with sockd(tmp_path_factory.mktemp("denying"), rules) as daemon:
        yield daemon


@pytest.mark.parametrize("name", cases(NO_NAMES))
def test_what_is_no_name_is_refused_before_any_rule(gateway: Sockd, targets: tuple[Peer, ...], name: str) -> None:
    """The rules of this daemon let loopback be reached, so only the refusal of the name itself can stop these."""
    with Wire(gateway.port) as wire:
        assert connect5(wire, name.encode(), targets[0].port).code == BAD_NAME
        assert wire.end_of_peer() == "fin"
    assert not any(target.called() for target in targets)


@pytest.mark.parametrize("name", cases(tuple(case for case in NO_NAMES if "\0" not in case[0] and case[0])))
def test_what_is_no_name_is_refused_in_socks4a(gateway: Sockd, targets: tuple[Peer, ...], name: str) -> None:
    with Wire(gateway.port) as wire:
        wire.send(socks4a(name.encode(), targets[0].port))
        assert read_reply4(wire).code == 91
    assert not any(target.called() for target in targets)


@pytest.mark.parametrize("name", cases(tuple(case for case in NO_NAMES if case[0] != "[::1]")))
def test_what_is_no_name_is_refused_in_http(gateway: Sockd, targets: tuple[Peer, ...], name: str) -> None:
    with Wire(gateway.port) as wire:
        wire.send(http(f"{name}:{targets[0].port}".encode()))
        assert read_status(wire) >= 400
    assert not any(target.called() for target in targets)


@pytest.mark.parametrize("name", cases(ALIASES))
def test_a_line_for_everywhere_reaches_no_part_of_the_gateway(
    everywhere: Sockd, targets: tuple[Peer, ...], name: str
) -> None:
    with Wire(everywhere.port) as wire:
        assert connect5(wire, name.encode(), targets[0].port).code == NOT_ALLOWED
    assert not any(target.called() for target in targets)


@pytest.mark.parametrize("name", cases(tuple(case for case in ALIASES if not case[0].lower().startswith("local"))))
def test_a_line_for_everywhere_reaches_no_part_of_the_gateway_by_address_type(
    everywhere: Sockd, targets: tuple[Peer, ...], name: str
) -> None:
    """The same as binary addresses (ATYP 1 and 4) instead of text."""
    with Wire(everywhere.port) as wire:
        assert connect5(wire, name, targets[0].port).code == NOT_ALLOWED
    assert not any(target.called() for target in targets)


@pytest.mark.parametrize("name", cases(ALIASES[:12]))
def test_a_deny_line_holds_for_every_alias(denying: Sockd, targets: tuple[Peer, ...], name: str) -> None:
    with Wire(denying.port) as wire:
        assert connect5(wire, name.encode(), targets[0].port).code == NOT_ALLOWED
    assert not any(target.called() for target in targets)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("127.0.0.1", id="its address"),
        pytest.param("localhost", id="its name"),
        pytest.param("::ffff:127.0.0.1", id="its mapped address"),
        pytest.param("0.0.0.0", id="the unspecified address"),
        pytest.param("::", id="the unspecified IPv6 address"),
    ],
)
def test_the_daemon_does_not_connect_to_its_own_port(everywhere: Sockd, name: str) -> None:
    with Wire(everywhere.port) as wire:
        assert connect5(wire, name.encode(), everywhere.port).code == NOT_ALLOWED


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("localhost", NOT_ALLOWED, id="as written"),
        pytest.param("LOCALHOST", NOT_ALLOWED, id="in capitals"),
        pytest.param("LocalHost.", NOT_ALLOWED, id="with a dot at its end"),
        pytest.param("localhost..", BAD_NAME, id="with two dots"),
        pytest.param("[localhost]", BAD_NAME, id="in brackets"),
        pytest.param("localhost\0", BAD_NAME, id="with a NUL"),
        pytest.param("127.0.0.1", 0, id="but its address is not the name"),
    ],
)
def test_a_line_that_denies_a_name_denies_its_spellings(
    by_name: Sockd, targets: tuple[Peer, ...], name: str, code: int
) -> None:
    with Wire(by_name.port) as wire:
        assert connect5(wire, name.encode(), targets[0].port).code == code
    assert targets[0].called() is (code == 0)


@pytest.fixture(scope="module")
def by_name(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon that denies the name localhost and permits the addresses behind it."""
    rules = "deny ALL localhost\npermit ALL 127.0.0.0/8\n"
    with sockd(tmp_path_factory.mktemp("by_name"), rules) as daemon:
        yield daemon


def test_odd_names_stay_on_their_own_line_of_the_log(gateway: Sockd) -> None:
    """Line ends, escape sequences and other control bytes of clients reach no log (S8, S17)."""
    name, user = b"evil\r\nrefused -- \x1b[2J", b"fred\nroot\x07"
    with Wire(gateway.port) as wire:
        wire.send(socks4a(name, 4242, user))
        assert read_reply4(wire).code == 91
    record = gateway.wait_record(port=4242)
    line = gateway.wait_log(r"\(4242\)")
    assert all(" " <= char <= "~" for char in line)
    assert "evil\\x0d\\x0a" in line
    assert "fred\\x0aroot\\x07" in line
    assert record["user"] == "fred\\x0aroot\\x07"
    raw = (gateway.folder / "sockd.log").read_bytes() + (gateway.folder / "sockd.json").read_bytes()
    assert not set(raw) & (set(range(32)) - {10} | {127})
