"""The lying server of the tests, as other people's programs see it: its lies are what they say."""

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.support.certificates import OPENSSL, certificate
from tests.support.lying.habits import (
    CloseAfter,
    Code,
    Delay,
    Dribble,
    Drop,
    EchoEcs,
    EdnsVersion,
    Extra,
    First,
    Flags,
    Instead,
    LowerCase,
    Many,
    NoEdns,
    NoName,
    NoQuestion,
    NoSoa,
    Options,
    OtherAddress,
    OtherPort,
    OutOfOrder,
    Referral,
    Repeat,
    Truncated,
    Ttl,
    TwoOpts,
    WrongId,
    WrongLength,
    WrongQuestion,
    ede,
)
from tests.support.lying.message import AD, REFUSED, SERVFAIL, Message, Record, wire
from tests.support.lying.sending import Habit, on
from tests.support.lying.tricks import TRICKS, Counts, Cut, Noise, Raw, Trailing, Trick
from tests.support.lying.zone import Turns, Zone, chain, circle
from tests.support.lyingserver import LyingServer
from tests.support.netns import namespace, needs_namespaces

DIG = shutil.which("dig")
pytestmark = pytest.mark.skipif(DIG is None, reason="needs dig: apt-get install bind9-dnsutils")

ZONE: Zone = {
    "www.example": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "MX": ["10 mail.example."], "TXT": ['"as it is"']},
    "alias.example": {"CNAME": ["www.example."]},
    "*.star.example": {"A": ["192.0.2.3"]},
    "old.example": {"DNAME": ["new.example."]},
    "host.new.example": {"A": ["192.0.2.4"]},
    "turning.example": {"A": Turns.of(["203.0.113.1"], ["10.0.0.1"])},
    **chain("long.example", 3, "192.0.2.5"),
    **circle("one.example", "two.example"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[LyingServer]:
    with LyingServer(ZONE, apexes=("example",)) as made:
        yield made


@pytest.fixture(autouse=True)
def honest(server: LyingServer) -> None:
    server.obey()
    server.forget()


def dig(server: LyingServer, *words: str) -> str:
    command = [str(DIG), "@127.0.0.1", "-p", str(server.port), "+tries=1", "+timeout=1", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


def short(server: LyingServer, *words: str) -> list[str]:
    return dig(server, "+short", *words).splitlines()


# --- honest


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        pytest.param(("www.example",), ["192.0.2.1"], id="A"),
        pytest.param(("WWW.example", "AAAA"), ["2001:db8::1"], id="AAAA in another case"),
        pytest.param(("www.example", "MX"), ["10 mail.example."], id="another type"),
        pytest.param(("alias.example",), ["www.example.", "192.0.2.1"], id="an alias"),
        pytest.param(("long.example",), [f"c{n}.long.example." for n in (1, 2, 3)] + ["192.0.2.5"], id="a chain"),
        pytest.param(("one.example",), ["two.example.", "one.example."], id="a circle"),
        pytest.param(("a.b.star.example",), ["192.0.2.3"], id="a wildcard"),
        pytest.param(("host.old.example",), ["new.example.", "host.new.example.", "192.0.2.4"], id="DNAME"),
        pytest.param(("+tcp", "www.example"), ["192.0.2.1"], id="over TCP"),
        pytest.param(("+noedns", "www.example"), ["192.0.2.1"], id="without EDNS"),
    ],
)
def test_it_answers_from_its_zone(server: LyingServer, words: tuple[str, ...], answer: list[str]) -> None:
    assert short(server, *words) == answer


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(("none.example",), "NXDOMAIN", id="no such name"),
        pytest.param(("www.example", "SRV"), "NOERROR", id="no such type"),
        pytest.param(("star.example",), "NOERROR", id="a name above others"),
    ],
)
def test_what_is_not_there_has_the_soa_of_its_apex(server: LyingServer, words: tuple[str, ...], status: str) -> None:
    said = dig(server, *words)
    assert f"status: {status}" in said
    assert re.search(r"^example\.\s+60\s+IN\s+SOA\s+ns\.example\. .* 60$", said, re.MULTILINE)


def test_a_turning_name_has_other_addresses_each_time(server: LyingServer) -> None:
    assert [short(server, "turning.example") for _ in range(3)] == [["203.0.113.1"], ["10.0.0.1"], ["203.0.113.1"]]
    assert re.search(r"^turning\.example\.\s+0\s", dig(server, "turning.example"), re.MULTILINE)


def test_what_is_too_large_is_cut_off_and_comes_by_tcp(server: LyingServer) -> None:
    server.obey(on(Many(1000), name="www.example"))
    assert "flags: qr tc rd ra; QUERY: 1, ANSWER: 0" in dig(server, "+ignore", "+bufsize=1232", "www.example")
    assert len(set(short(server, "www.example"))) == 1000
    assert [one.transport for one in server.heard("www.example")] == ["udp", "udp", "tcp"]


# --- what it remembers


def test_it_remembers_what_it_was_asked_and_by_whom(server: LyingServer) -> None:
    began = time.monotonic()
    dig(server, "-b", "127.0.0.9#0", "wWw.example", "AAAA")
    (heard,) = server.heard()
    assert (heard.name, heard.type, heard.spelled) == ("www.example", "AAAA", "wWw.example")
    assert (heard.transport, heard.source) == ("udp", "127.0.0.9")
    assert began <= heard.time <= time.monotonic()
    assert heard.id == heard.message.id
    assert server.heard("www.example", "A") == []


def test_it_sees_a_client_subnet(server: LyingServer) -> None:
    dig(server, "+subnet=192.0.2.0/24", "www.example")
    dig(server, "www.example")
    assert [one.has_ecs for one in server.heard()] == [True, False]


def test_what_waits_for_it_counts_as_heard(server: LyingServer) -> None:
    query = dns.message.make_query("www.example", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(200):
            client.sendto(query, ("127.0.0.1", server.port))
        assert len(server.heard("www.example", "A")) == 200


def test_what_is_no_question_is_remembered_too(server: LyingServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"nothing", ("127.0.0.1", server.port))
        (heard,) = server.heard()
    assert (heard.name, heard.data) == ("", b"nothing")


def test_it_can_go_and_come_again_on_its_port() -> None:
    server = LyingServer(ZONE)
    with server:
        port = server.port
        assert short(server, "www.example") == ["192.0.2.1"]
    assert "refused" in dig(server, "www.example")
    with server:
        assert server.port == port
        assert short(server, "www.example") == ["192.0.2.1"]
        assert len(server.heard("www.example")) == 2


def test_a_port_that_is_taken_is_told(server: LyingServer) -> None:
    with pytest.raises(AssertionError, match="does not serve"), LyingServer(ZONE, port=server.port):
        pass


@needs_namespaces
def test_it_serves_in_a_namespace_on_several_addresses() -> None:
    with namespace() as space, LyingServer(ZONE, addresses=("127.0.0.1", "::1"), port=53, prefix=space.prefix) as own:
        for address in own.addresses:
            done = subprocess.run(
                [*space.prefix, str(DIG), "+short", f"@{address}", "www.example"], capture_output=True, text=True
            )
            assert done.stdout == "192.0.2.1\n"


# --- rules


def test_the_first_rule_that_fits_counts(server: LyingServer) -> None:
    server.obey(
        on(Code(SERVFAIL), name="www.example", type="AAAA"),
        on(Code(REFUSED), name="*.star.example", transport="tcp"),
        on(NoName("example"), edns=False),
        on(Code(SERVFAIL), name="alias.example", times=1),
    )
    statuses = [
        re.findall(r"status: (\w+)", dig(server, *words))
        for words in (
            ("www.example", "AAAA"),
            ("www.example",),
            ("a.star.example",),
            ("+tcp", "a.star.example"),
            ("+tcp", "star.example"),
            ("+noedns", "www.example"),
            ("alias.example",),
            ("alias.example",),
        )
    ]
    expected = ["SERVFAIL", "NOERROR", "NOERROR", "REFUSED", "REFUSED", "NXDOMAIN", "SERVFAIL", "NOERROR"]
    assert statuses == [[status] for status in expected]


def test_another_zone_can_be_served(server: LyingServer) -> None:
    with LyingServer(ZONE) as own:
        own.serve({"www.example": {"A": ["192.0.2.77"]}})
        assert short(own, "www.example") == ["192.0.2.77"]
    assert short(server, "www.example") == ["192.0.2.1"]


# --- lies that dig sees


@pytest.mark.parametrize(
    ("habits", "words", "seen"),
    [
        pytest.param([Drop()], (), "timed out", id="no answer"),
        pytest.param([First(3, WrongId())], (), r"ID mismatch(?s:.*)192\.0\.2\.1", id="wrong ids before"),
        pytest.param(
            [First(1, WrongQuestion("evil.example"))], (), "section mismatch: got evil.example/A", id="a wrong name"
        ),
        pytest.param(
            [First(1, WrongQuestion(type=28))], (), "section mismatch: got www.example/AAAA", id="a wrong type"
        ),
        pytest.param(
            [First(1, WrongQuestion(klass=3))], (), "section mismatch: got www.example/A/CH", id="a wrong class"
        ),
        pytest.param([LowerCase()], (), r";www\.example\.", id="another case"),
        pytest.param([NoQuestion()], (), "QUERY: 0, ANSWER: 1", id="no question"),
        pytest.param([Flags(set=AD)], (), "flags: qr rd ra ad;", id="a flag set"),
        pytest.param([Flags(clear=0x8000)], (), "timed out|flags: rd", id="no answer by its flags"),
        pytest.param([Truncated()], ("+ignore",), "flags: qr tc", id="cut off"),
        pytest.param([Truncated()], (), r"(?s)retrying in TCP.*192\.0\.2\.1", id="cut off, then by TCP"),
        pytest.param([Code(REFUSED)], (), r"(?s)REFUSED.*ANSWER: 0.*OPT PSEUDO", id="refused"),
        pytest.param([Code(1, opt=False)], (), "FORMERR", id="no EDNS"),
        pytest.param([Code(16)], (), "BADVERS", id="an extended code"),
        pytest.param([NoName("example")], (), r"(?s)NXDOMAIN.*AUTHORITY: 1", id="no such name"),
        pytest.param([NoName()], (), r"(?s)NXDOMAIN.*AUTHORITY: 0", id="no such name, no SOA"),
        pytest.param([NoSoa()], ("SRV",), r"ANSWER: 0, AUTHORITY: 0", id="no data, no SOA"),
        pytest.param([Referral("example", ("ns.other.example",))], (), r"NS\s+ns\.other", id="referral"),
        pytest.param(
            [Extra(("a.evil 60 A 192.0.2.66",), ("evil 60 NS b.evil.",), ("b.evil 60 A 10.0.0.1",))],
            (),
            r"ANSWER: 2, AUTHORITY: 1, ADDITIONAL: 2",
            id="records of others",
        ),
        pytest.param([Instead(("www.example 5 A 10.9.9.9",))], (), r"5\s+IN\s+A\s+10\.9\.9\.9", id="other data"),
        pytest.param([Ttl(2**32 - 1)], (), r"\s4294967295\s", id="a huge TTL"),
        pytest.param([Ttl(0)], (), r"www\.example\.\s+0\s+IN\s+A", id="no TTL"),
        pytest.param([NoEdns()], (), r"\A(?!(?s:.*)OPT PSEUDO)(?s:.*)192\.0\.2\.1", id="the OPT record left out"),
        pytest.param([ede(18, "not you")], (), r"EDE: 18 \(Prohibited\): \(not you\)", id="an extended error"),
        pytest.param([EchoEcs()], ("+subnet=192.0.2.0/24",), r"CLIENT-SUBNET: 192\.0\.2\.0/24/0", id="a subnet echoed"),
        pytest.param([EchoEcs()], (), r"CLIENT-SUBNET: 192\.0\.2\.0/24/24", id="a subnet made up"),
        pytest.param([Options(((65001, b"x"),), 100)], (), r"OPT=65001: 78", id="a flood of options"),
        pytest.param([EdnsVersion()], (), r"EDNS: version: 1", id="another version of EDNS"),
        pytest.param([TwoOpts()], (), "(?i)malformed|bad|FORMERR", id="two OPT records"),
        pytest.param([Cut(20)], (), "(?i)short|malformed|unexpected end", id="cut in the middle"),
        pytest.param([Trailing(b"more")], (), "(?i)extra|trailing|bytes", id="bytes behind it"),
        pytest.param([Counts((None, 9, None, None))], (), "(?i)malformed|unexpected end", id="counts too high"),
        pytest.param([Raw(b"\x81\x80")], (), "(?i)short|unexpected end|timed out", id="hardly a header"),
        pytest.param([Noise()], (), "(?i)malformed|bad|unexpected|FORMERR|extra", id="noise"),
    ],
)
def test_dig_sees_the_lie(server: LyingServer, habits: list[Habit], words: tuple[str, ...], seen: str) -> None:
    server.obey(on(*habits))
    said = dig(server, "+tries=1", "WwW.example" if isinstance(habits[0], LowerCase) else "www.example", *words)
    assert re.search(seen, said), said


#: dig follows these, or some of them at times
READABLE = {"steps", "forward", "header"}


@pytest.mark.parametrize("kind", [kind for kind in TRICKS if kind not in READABLE])
def test_a_trick_of_compression_is_no_message_for_dig(server: LyingServer, kind: str) -> None:
    server.obey(on(Trick(kind)))
    said = dig(server, "www.example")
    assert re.search("(?i)malformed|bad|unexpected end|too long|FORMERR|failed", said), said


@pytest.mark.parametrize("count", [1, 100])
def test_a_flood_of_options_has_its_size(server: LyingServer, count: int) -> None:
    server.obey(on(Options(((65001, b"x"),), count)))
    assert dig(server, "www.example").count("OPT=65001") == count


def asked_by_socket(server: LyingServer, answers: int) -> list[tuple[tuple[str, int], int]]:
    """The sources and ids, less that of the question, of so many answers to one question."""
    query = dns.message.make_query("www.example", "A")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(query.to_wire(), ("127.0.0.1", server.port))
        heard = (client.recvfrom(4096) for _ in range(answers))
        return [(source, (int.from_bytes(data[:2], "big") - query.id) & 0xFFFF) for data, source in heard]


def test_wrong_answers_come_before_the_right_one(server: LyingServer) -> None:
    server.obey(on(First(3, WrongId(), OtherPort())))
    heard = asked_by_socket(server, 4)
    ports = {port for (_, port), _ in heard[:3]}
    assert len(ports) == 1
    assert server.port not in ports
    assert [wrong for _, wrong in heard] == [1, 2, 3, 0]
    assert heard[3][0] == ("127.0.0.1", server.port)


def test_an_answer_comes_from_another_address(server: LyingServer) -> None:
    server.obey(on(OtherAddress("127.0.0.2")))
    assert asked_by_socket(server, 1) == [(("127.0.0.2", server.port), 0)]


def test_a_late_answer_is_late_and_a_repeated_one_comes_again(server: LyingServer) -> None:
    server.obey(on(Delay(0.2), Repeat(3)))
    query = dns.message.make_query("www.example", "A")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        began = time.monotonic()
        client.sendto(query.to_wire(), ("127.0.0.1", server.port))
        answers = {client.recv(4096) for _ in range(3)}
        assert time.monotonic() - began >= 0.2
    assert len(answers) == 1


# --- lies of streams


@pytest.fixture
def stream(server: LyingServer) -> Iterator[socket.SocketIO]:
    with socket.create_connection(("127.0.0.1", server.port), 5) as made, made.makefile("rwb", buffering=0) as file:
        yield file


def say(stream: socket.SocketIO, name: str) -> None:
    data = dns.message.make_query(name, "A").to_wire()
    stream.write(len(data).to_bytes(2, "big") + data)


def exactly(stream: socket.SocketIO, count: int) -> bytes:
    """So many bytes, or fewer if the stream ends before."""
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


def hear(stream: socket.SocketIO) -> str:
    """The name that the next answer is about; empty when the connection is closed."""
    data = exactly(stream, int.from_bytes(exactly(stream, 2), "big"))
    return dns.message.from_wire(data).question[0].name.to_text() if data else ""


def test_answers_of_a_stream_come_out_of_order(server: LyingServer, stream: socket.SocketIO) -> None:
    server.obey(on(OutOfOrder(3)))
    names = ["www.example.", "alias.example.", "long.example."]
    for name in names:
        say(stream, name)
    assert [hear(stream) for _ in names] == names[::-1]


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_stream_closes_after_some_answers(server: LyingServer, stream: socket.SocketIO, answers: int) -> None:
    server.obey(on(CloseAfter(answers)))
    for _ in range(answers):
        say(stream, "www.example")
        assert hear(stream) == "www.example."
    if not answers:
        say(stream, "www.example")
    assert hear(stream) == ""


def test_a_stream_dribbles(server: LyingServer, stream: socket.SocketIO) -> None:
    server.obey(on(Dribble(1, 0.0)))
    say(stream, "www.example")
    assert hear(stream) == "www.example."


def test_a_stream_tells_a_wrong_length(server: LyingServer, stream: socket.SocketIO) -> None:
    server.obey(on(WrongLength(3)))
    say(stream, "www.example")
    assert exactly(stream, 2) == b"\0\3"


@pytest.mark.skipif(OPENSSL is None, reason="needs openssl: apt-get install openssl")
def test_it_speaks_tls(tmp_path: Path) -> None:
    files = certificate(tmp_path, "dns.example", "127.0.0.1")
    context = ssl.create_default_context(cafile=files.chain)
    with LyingServer(ZONE, certificate=files) as own:
        query = dns.message.make_query("www.example", "A")
        answer = dns.query.tls(
            query, "127.0.0.1", 5, port=own.tls_port, ssl_context=context, server_hostname="dns.example"
        )
        assert answer.rcode() == dns.rcode.NOERROR
        (heard,) = own.heard("www.example")
    assert (heard.transport, heard.server_name) == ("tls", "dns.example")


# --- its messages


def test_names_are_compressed_as_others_read_them() -> None:
    records = tuple(Record(wire(f"{label}.Example"), 5, 60, wire("www.example")) for label in ("a", "b", "www"))
    message = Message(7, 0x8180, wire("www.example") + b"\0\1\0\1", answer=records)
    data = message.encode()
    read = dns.message.from_wire(data)
    assert [str(name.target) for rrset in read.answer for name in rrset] == ["www.example."] * 3
    assert len(data) == 12 + 17 + 2 * (4 + 10 + 2) + (2 + 10 + 2)
