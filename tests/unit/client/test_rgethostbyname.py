"""Look-ups against name servers on loopback, blocking and on a loop: who is asked, and what comes of it."""

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from gateway.address import Address, Endpoint, parse_address
from gateway.client import (
    BadServers,
    HostEntry,
    HostNotFound,
    NameServers,
    NoData,
    Patience,
    TryAgain,
    aio,
    rgethostbyname,
)
from gateway.client.lookup import MAX_CHAIN
from gateway.errors import BadName
from tests.support.waiting import eventually
from tests.unit.client.calls import Calls, in_time
from tests.unit.client.servers import HOST, Habit, Server, Zone, answer, holding, saying, serving, silent

INSIDE: Zone = {
    "printer.corp.example": ["A 10.0.0.9", "AAAA fd00::9"],
    "www.corp.example": ["A 10.0.0.80"],
    "out.corp.example": ["CNAME cdn.example.net"],
    "alias.corp.example": ["CNAME printer.corp.example"],
    "empty.corp.example": ["TXT x"],
    "hidden.example.org": ["A 10.7.7.7"],
    "9.0.0.10.in-addr.arpa": ["PTR printer.corp.example.", "PTR spooler.corp.example."],
    "13.0.0.10.in-addr.arpa": ["PTR bad\\032name.example."],
}
OUTSIDE: Zone = {
    "www.corp.example": ["A 192.0.2.80"],
    "www.example.net": ["CNAME edge.example.net"],
    "edge.example.net": ["AAAA 2001:db8::80", "A 198.51.100.81", "A 198.51.100.80"],
    "cdn.example.net": ["A 198.51.100.7"],
    "into.example.net": ["CNAME printer.corp.example"],
    "four.example.net": ["A 198.51.100.4"],
    "text.example.net": ["TXT x"],
    "80.100.51.198.in-addr.arpa": ["CNAME 80.64-26.100.51.198.in-addr.arpa"],
    "80.64-26.100.51.198.in-addr.arpa": ["PTR edge.example.net."],
}
QUICK = Patience(0.15, 1)
SURE = Patience(10.0, 1)


def split(inside: Sequence[Server | Endpoint], outside: Sequence[Server | Endpoint] = ()) -> NameServers:
    """With the inside zone corp.example."""
    zoned = NameServers.of([], zones=["corp.example"], domain="corp.example")
    sides = [tuple(one.endpoint if isinstance(one, Server) else one for one in side) for side in (inside, outside)]
    return NameServers(sides[0], sides[1], zoned.zones, zoned.domain)


def nobody() -> Endpoint:
    """Where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        return Endpoint(Address(4, 0x7F00_0001), sock.getsockname()[1])


def shown(entry: HostEntry) -> tuple[str, tuple[str, ...], list[str]]:
    return entry.name, entry.aliases, list(map(str, entry.addresses))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_inside_name_is_asked_inside_and_never_outside(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        entry = calls.by_name("WWW.Corp.Example.", split([inside], [outside]), SURE)
        assert shown(entry) == ("www.corp.example", (), ["10.0.0.80"])
        assert outside.asked == []


@pytest.mark.parametrize("habit", [silent, saying(dns.rcode.SERVFAIL), saying(dns.rcode.REFUSED), holding({})])
def test_an_inside_name_does_not_get_out_when_the_inside_server_fails(calls: Calls, habit: Habit) -> None:
    with serving(habit, holding(OUTSIDE)) as (inside, outside):
        for name in ("www.corp.example", "printer", "x.y.corp.example"):
            with pytest.raises((TryAgain, HostNotFound)):
                calls.by_name(name, split([inside], [outside]), QUICK)
        assert outside.asked == []
        names = {"www.corp.example", "printer.corp.example", "x.y.corp.example"}
        assert eventually(lambda: inside.names() == names)


def test_a_dead_inside_server_is_a_failure_for_now_that_says_why(calls: Calls) -> None:
    dead = nobody()
    with serving(holding(OUTSIDE)) as (outside,):
        with pytest.raises(TryAgain) as raised:
            calls.by_name("printer", split([dead], [outside]), SURE)
        assert str(raised.value) == f"printer.corp.example: {dead} can not be asked: Connection refused"
        assert raised.value.h_errno == 2
        assert outside.asked == []


def test_a_name_of_one_label_gets_the_default_domain(calls: Calls) -> None:
    with serving(holding(INSIDE)) as (inside,):
        entry = calls.by_name("printer", split([inside]), SURE)
        assert shown(entry) == ("printer.corp.example", (), ["10.0.0.9", "fd00::9"])


def test_a_dot_at_the_end_keeps_the_default_domain_away(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        with pytest.raises(HostNotFound):
            calls.by_name("printer.", split([inside], [outside]), SURE)
        assert inside.names() == {"printer"}
        assert outside.asked == []


def test_any_other_name_is_asked_outside_first_and_not_inside_if_that_knows_it(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        entry = calls.by_name("www.example.net", split([inside], [outside]), SURE)
        assert shown(entry) == (
            "edge.example.net", ("www.example.net",), ["198.51.100.81", "198.51.100.80", "2001:db8::80"]
        )  # fmt: skip
        assert inside.asked == []


@pytest.mark.parametrize("habit", [holding(OUTSIDE), saying(dns.rcode.SERVFAIL), silent])
def test_what_the_outside_does_not_know_is_asked_inside(calls: Calls, habit: Habit) -> None:
    with serving(holding(INSIDE), habit) as (inside, outside):
        entry = in_time(calls.by_name, "hidden.example.org", split([inside], [outside]))
        assert shown(entry) == ("hidden.example.org", (), ["10.7.7.7"])
        assert outside.names() == {"hidden.example.org"}


def test_a_name_that_both_deny_does_not_exist(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        with pytest.raises(HostNotFound) as raised:
            calls.by_name("nobody.example.net", split([inside], [outside]), SURE)
        assert str(raised.value) == (
            f"nobody.example.net: {outside.endpoint} says that there is no such name; "
            f"{inside.endpoint} says that there is no such name"
        )
        assert raised.value.h_errno == 1


@pytest.mark.parametrize("dead", ["inside", "outside"])
def test_a_name_that_one_side_denies_while_the_other_fails_is_not_known(calls: Calls, dead: str) -> None:
    habits = [saying(dns.rcode.SERVFAIL) if dead == side else holding({}) for side in ("inside", "outside")]
    with serving(*habits) as (inside, outside), pytest.raises(TryAgain, match=r"says SERVFAIL"):
        calls.by_name("nobody.example.net", split([inside], [outside]), SURE)


def test_a_name_without_an_address_is_told_from_one_that_does_not_exist(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        for name in ("empty.corp.example", "text.example.net"):
            with pytest.raises(NoData, match="knows the name, but nothing of this kind") as raised:
                calls.by_name(name, split([inside], [outside]), SURE)
            assert raised.value.h_errno == 4


def test_aliases_are_followed_and_told(calls: Calls) -> None:
    with serving(holding(INSIDE)) as (inside,):
        entry = calls.by_name("alias.corp.example", split([inside]), SURE)
        assert shown(entry) == ("printer.corp.example", ("alias.corp.example",), ["10.0.0.9", "fd00::9"])


def test_an_inside_alias_that_leads_out_is_followed_outside(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        entry = calls.by_name("out", split([inside], [outside]), SURE)
        assert shown(entry) == ("cdn.example.net", ("out.corp.example",), ["198.51.100.7"])
        assert outside.names() == {"cdn.example.net"}


def test_an_alias_of_nothing_is_told_with_its_path(calls: Calls) -> None:
    with serving(holding(INSIDE), holding({})) as (inside, outside):
        with pytest.raises(HostNotFound) as raised:
            calls.by_name("out", split([inside], [outside]), SURE)
        path = "out.corp.example (an alias: out.corp.example -> cdn.example.net)"
        assert str(raised.value).startswith(f"{path}: {outside.endpoint} says that there is no such name; ")


def test_an_outside_alias_of_an_inside_name_is_followed_inside(calls: Calls) -> None:
    forged: Zone = {**OUTSIDE, "printer.corp.example": ["A 203.0.113.66"]}
    with serving(holding(INSIDE), holding(forged)) as (inside, outside):
        entry = calls.by_name("into.example.net", split([inside], [outside]), SURE)
        assert shown(entry) == ("printer.corp.example", ("into.example.net",), ["10.0.0.9", "fd00::9"])
        assert outside.names() == {"into.example.net"}


def test_aliases_in_a_circle_between_two_servers_end(calls: Calls) -> None:
    circle: Zone = {"a.example.net": ["CNAME a.corp.example"]}
    path = r"circle.*a\.corp\.example -> a\.example\.net -> a\.corp\.example"
    with serving(holding({"a.corp.example": ["CNAME a.example.net"]}), holding(circle)) as (inside, outside):
        servers = split([inside], [outside])
        with pytest.raises(TryAgain, match=path):
            calls.by_name("a.corp.example", servers, SURE)


@pytest.mark.parametrize("aliases", [MAX_CHAIN - 1, MAX_CHAIN])
def test_a_chain_of_aliases_from_answer_to_answer_has_an_end(calls: Calls, aliases: int) -> None:
    zone = {f"n{number}.example.net": [f"CNAME n{number + 1}.example.net"] for number in range(aliases)}
    zone[f"n{aliases}.example.net"] = ["A 198.51.100.1"]

    def step_by_step(query: dns.message.Message, _: str) -> list[bytes]:
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        return [answer(query, {name: zone.get(name, [])}).to_wire()]

    with serving(step_by_step) as (inside,):
        if aliases < MAX_CHAIN:
            entry = calls.by_name("n0.example.net", split([inside]), SURE)
            assert len(entry.aliases) == aliases
        else:
            with pytest.raises(TryAgain, match="too far"):
                calls.by_name("n0.example.net", split([inside]), SURE)


def test_the_second_server_of_a_side_is_asked_when_the_first_is_dead(calls: Calls) -> None:
    with serving(saying(dns.rcode.SERVFAIL), holding(INSIDE)) as (failing, inside):
        entry = calls.by_name("printer", split([nobody(), failing, inside]), SURE)
        assert entry.name == "printer.corp.example"


def test_the_first_server_of_a_side_decides_that_there_is_nothing(calls: Calls) -> None:
    with serving(holding({}), holding(INSIDE)) as (first, second):
        with pytest.raises(HostNotFound):
            calls.by_name("printer", split([first, second]), SURE)
        assert second.asked == []


def test_a_server_that_was_silent_once_is_asked_again(calls: Calls) -> None:
    def deaf_at_first(query: dns.message.Message, _: str) -> list[bytes]:
        return [answer(query, INSIDE).to_wire()] if len(inside.asked) > 2 else []

    with serving(deaf_at_first) as (inside,):
        entry = calls.by_name("www.corp.example", split([inside]), Patience(0.2, 8))
        assert str(entry.addresses[0]) == "10.0.0.80"


def test_a_server_that_answered_one_of_the_two_questions_is_asked_again(calls: Calls) -> None:
    six_only: Zone = {"six.corp.example": ["AAAA fd00::6"]}

    def deaf_at_first(query: dns.message.Message, _: str) -> list[bytes]:
        is_six = query.question[0].rdtype == dns.rdatatype.AAAA
        return [] if is_six and len(inside.asked) <= 2 else [answer(query, six_only).to_wire()]

    with serving(deaf_at_first) as (inside,):
        entry = calls.by_name("six", split([inside]), Patience(0.2, 8))
        assert shown(entry) == ("six.corp.example", (), ["fd00::6"])


def test_a_server_that_answers_with_an_error_is_not_asked_again(calls: Calls) -> None:
    with serving(saying(dns.rcode.SERVFAIL)) as (inside,):
        with pytest.raises(TryAgain):
            calls.by_name("printer", split([inside]), Patience(10, 3))
        assert sorted(inside.asked) == [
            ("printer.corp.example", "A", "udp"), ("printer.corp.example", "AAAA", "udp")
        ]  # fmt: skip


def test_what_one_of_the_two_questions_gives_is_the_result(calls: Calls) -> None:
    def four_only(query: dns.message.Message, _: str) -> list[bytes]:
        return [answer(query, OUTSIDE).to_wire()] if query.question[0].rdtype == dns.rdatatype.A else []

    with serving(four_only) as (outside,):
        entry = in_time(calls.by_name, "four.example.net", split([], [outside]))
        assert shown(entry) == ("four.example.net", (), ["198.51.100.4"])


def test_there_is_an_end_to_all_patience(calls: Calls) -> None:
    with serving(silent) as (inside,):
        with pytest.raises(TryAgain, match=r"did not answer in time; given up after 0\.1 seconds"):
            calls.by_name("printer", split([inside]), Patience(0.05, 1000, 0.1))
        assert len(inside.asked) <= 6


def test_a_server_that_only_refers_to_others_is_no_resolver(calls: Calls) -> None:
    def referring(query: dns.message.Message, _: str) -> list[bytes]:
        response = dns.message.make_response(query)
        response.authority.append(dns.rrset.from_text("example.net.", 300, "IN", "NS", "ns.example.net."))
        return [response.to_wire()]

    with serving(referring) as (outside,), pytest.raises(TryAgain, match="only refers to other servers"):
        calls.by_name("www.example.net", split([], [outside]), SURE)


def test_nobody_is_asked_where_no_server_may_hear_the_name(calls: Calls) -> None:
    with serving(holding(OUTSIDE)) as (outside,):
        with pytest.raises(TryAgain, match=r"printer\.corp\.example: no name server may be asked about it"):
            calls.by_name("printer", split([], [outside]), SURE)
        assert outside.asked == []


@pytest.mark.parametrize(
    ("text", "name", "addresses"),
    [
        ("10.0.0.9", "10.0.0.9", ["10.0.0.9"]),
        ("2001:DB8::0:1", "2001:db8::1", ["2001:db8::1"]),
        ("localhost", "localhost", ["127.0.0.1", "::1"]),
        ("a.LOCALHOST.", "a.localhost", ["127.0.0.1", "::1"]),
    ],
)
def test_addresses_and_localhost_are_not_asked_about(calls: Calls, text: str, name: str, addresses: list[str]) -> None:
    assert shown(calls.by_name(text, split([nobody()], [nobody()]))) == (name, (), addresses)


@pytest.mark.parametrize(
    "text",
    ["", ".", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "①②⑦.0.0.1", "ⓛocalhost", "localhost\0.evil.com",
     "a..b", "[::1]", "-a.example", "a b.example", "x" * 64 + ".example", "fe80::1%eth0", "\udc80.example"],
)  # fmt: skip
def test_what_others_read_as_something_else_is_no_name(calls: Calls, text: str) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        with pytest.raises(BadName):
            calls.by_name(text, split([inside], [outside]), SURE)
        assert inside.asked == outside.asked == []


def test_private_addresses_are_looked_up_inside_only(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        servers = split([inside], [outside])
        entry = calls.by_address("10.0.0.9", servers, SURE)
        assert shown(entry) == ("printer.corp.example", ("spooler.corp.example",), ["10.0.0.9"])
        assert calls.by_address("::ffff:10.0.0.9", servers, SURE) == entry
        for unknown in ("10.0.0.10", "fd00::1"):
            with pytest.raises(HostNotFound, match=f"^{unknown}: "):
                calls.by_address(unknown, servers, SURE)
        assert outside.asked == []


def test_public_addresses_are_looked_up_outside_first_across_an_alias(calls: Calls) -> None:
    with serving(holding(INSIDE), holding(OUTSIDE)) as (inside, outside):
        address = parse_address("198.51.100.80")
        entry = calls.by_address(address, split([inside], [outside]), SURE)
        assert shown(entry) == ("edge.example.net", (), ["198.51.100.80"])
        assert inside.asked == []


def test_a_public_address_that_only_the_inside_knows_is_found_there(calls: Calls) -> None:
    zone: Zone = {"7.2.0.192.in-addr.arpa": ["PTR hidden.corp.example."]}
    with serving(holding(zone), holding(OUTSIDE)) as (inside, outside):
        entry = calls.by_address("192.0.2.7", split([inside], [outside]), SURE)
        assert entry.name == "hidden.corp.example"


def test_a_name_of_an_address_that_is_none_of_a_host_is_left_out(calls: Calls) -> None:
    with serving(holding(INSIDE)) as (inside,), pytest.raises(NoData, match="no name that is one of a host"):
        calls.by_address("10.0.0.13", split([inside]), SURE)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_the_loopback_is_localhost(calls: Calls, address: str) -> None:
    assert calls.by_address(address, split([nobody()])).name == "localhost"


@pytest.mark.parametrize("text", ["", "10.0.0", "host.example", "fe80::1%eth0", "\x1b[2J"])
def test_what_is_no_address_is_refused_with_its_bytes_escaped(calls: Calls, text: str) -> None:
    with pytest.raises(BadName, match="is no address") as raised:
        calls.by_address(text, split([nobody()]))
    assert str(raised.value).isprintable()


def test_what_a_server_says_is_shown_without_its_control_bytes(calls: Calls) -> None:
    def cursing(query: dns.message.Message, _: str) -> list[bytes]:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        response.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.NO_REACHABLE_AUTHORITY, "no\x1b[2J\npath")])
        return [response.to_wire()]

    with serving(cursing) as (inside,):
        with pytest.raises(TryAgain, match=r"says SERVFAIL \(no.*path\)") as raised:
            calls.by_name("printer", split([inside]), SURE)
        assert str(raised.value).isprintable()


def test_nothing_stays_open(calls: Calls) -> None:
    with serving(holding(INSIDE), silent) as (inside, mute):
        calls.by_name("printer", split([inside]), SURE)
        before = descriptors()
        calls.by_name("printer", split([inside]), SURE)
        with pytest.raises(TryAgain):
            calls.by_name("printer", split([mute]), QUICK)
        assert descriptors() == before


def test_a_look_up_that_is_cancelled_leaves_nothing_open() -> None:
    with serving(silent) as (mute,):

        async def cancelled() -> None:
            before = descriptors()
            look_up = asyncio.create_task(aio.Rgethostbyname("printer", split([mute]), Patience(60, 1, 60)))
            while len(mute.asked) < 2:
                await asyncio.sleep(0.001)
            assert descriptors() > before
            look_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await look_up
            assert descriptors() == before

        asyncio.run(cancelled())


def test_many_look_ups_share_a_loop() -> None:
    with serving(holding(INSIDE)) as (inside,):

        async def many() -> list[HostEntry]:
            servers = split([inside])
            return await asyncio.gather(*(aio.Rgethostbyname("printer", servers, SURE) for _ in range(40)))

        assert len(asyncio.run(many())) == 40
        assert eventually(lambda: len(inside.asked) == 80)


def test_the_servers_are_those_of_the_environment(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("search corp.example\n")
    monkeypatch.setattr(rgethostbyname, "RESOLV_CONF", conf)
    with serving(holding(OUTSIDE)) as (outside,):
        monkeypatch.setenv("SOCKS_NS", str(outside.endpoint))
        assert calls.by_name("cdn.example.net").name == "cdn.example.net"
        monkeypatch.setenv("SOCKS_NS", "ns.example")
        with pytest.raises(BadServers, match=r"SOCKS_NS: 'ns\.example' is no address of a name server"):
            calls.by_name("cdn.example.net")


def test_a_missing_resolv_conf_is_one_without_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rgethostbyname, "RESOLV_CONF", tmp_path / "none")
    monkeypatch.delenv("SOCKS_NS", raising=False)
    monkeypatch.setenv("SOCKS_DNAME", "corp.example")
    servers = rgethostbyname.environment()
    assert [str(server) for server in servers.inside] == ["127.0.0.1:53"]
    assert servers.domain == "corp.example"
