"""Messages that are larger than a datagram should be (field-cases D10), both ways, and clients who do not read.

The times of quiet and slow connections are tens of seconds, and no settings; they are tested in
``tests/unit/net/test_dnstcp.py``.
"""

import contextlib
import socket
from collections.abc import Iterator

import dns.flags
import dns.message
import pytest

from tests.support import proc
from tests.support.dnsgateway import question, rcode, records
from tests.support.lying.habits import CloseAfter, Code, Delay, Dribble, Many, OutOfOrder, Truncated
from tests.support.lying.message import SERVFAIL
from tests.support.lying.sending import Habit, on
from tests.support.lying.tricks import Trailing
from tests.support.splitworld import SplitWorld, split_world

NAME = "large.many.example"
HEAD = 12 + len(NAME) + 2 + 4
OPT, ADDRESS = 11, 16
"""Bytes of the OPT record, and of each address."""
FITTING = (1232 - HEAD - OPT) // ADDRESS
AS_IT_IS = Trailing(b"")
"""Sent as it is, however large it is for UDP."""
QUESTIONS = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    with split_world(tmp_path_factory.mktemp("size")) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


# --- what a client gets


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize(
    ("payload", "room"),
    [(None, 512), (0, 512), (100, 512), (512, 512), (513, 513), (1000, 1000), (1232, 1232), (1233, 1232), (4096, 1232),
     (65535, 1232)],
)  # fmt: skip
def test_a_datagram_is_as_long_as_the_client_can_take_and_1232_at_most(
    world: SplitWorld, payload: int | None, room: int, is_cached: bool
) -> None:
    opt = 0 if payload is None else OPT
    most = (room - HEAD - opt) // ADDRESS
    query = question(NAME, edns=False)
    if payload is not None:
        query.use_edns(0, 0, payload)
    for count in (most, most + 1):
        world.gateway.flush()
        world.outside.obey(on(Many(count), name=NAME))
        for _ in range(3 if is_cached else 1):
            answer = world.gateway.send(query)
            assert len(answer.to_wire()) <= room
            assert len(records(answer)) <= most
            assert len(records(answer)) == count or count > most
            assert bool(answer.flags & dns.flags.TC) is (count > most)
        assert len(records(world.gateway.send(query, tcp=True))) == count


def test_a_failure_with_its_reason_fits_too(world: SplitWorld) -> None:
    query = question("x" * 60 + ".many.example")
    query.use_edns(0, 0, 512)
    world.outside.obey(on(Code(SERVFAIL), name="*.many.example"))
    assert len(world.gateway.send(query).to_wire()) <= 512


# --- what name servers are told, and send


def test_name_servers_are_told_1232(world: SplitWorld) -> None:
    for payload in (512, 1232, 4096):
        query = question(f"x{payload}.many.example")
        query.use_edns(0, 0, payload)
        world.gateway.send(query)
    assert [one.message.payload for one in world.outside.heard()] == [1232] * 3


@pytest.mark.parametrize(
    ("count", "habits", "transports"),
    [
        pytest.param(FITTING, (), ["udp"], id="as long as it may be"),
        pytest.param(FITTING + 1, (), ["udp", "tcp"], id="cut off by its server"),
        pytest.param(1, (Truncated(),), ["udp", "tcp"], id="cut off for no reason"),
        pytest.param(200, (AS_IT_IS,), ["udp"], id="longer than we said"),
        pytest.param(900, (AS_IT_IS,), ["udp", "tcp"], id="longer than we read"),
    ],
)
def test_what_a_datagram_does_not_hold_is_asked_for_by_tcp(
    world: SplitWorld, count: int, habits: tuple[Habit, ...], transports: list[str]
) -> None:
    world.outside.obey(on(Many(count), *habits, name=NAME, transport="udp"), on(Many(count), name=NAME))
    assert len(records(world.gateway.ask(NAME, tcp=True))) == count
    assert [one.transport for one in world.outside.heard(NAME)] == transports


def test_records_of_an_answer_that_was_cut_off_do_not_count(world: SplitWorld) -> None:
    name = "cut-off.many.example"
    world.outside.obey(on(Truncated(), name=name, transport="udp"), on(Code(SERVFAIL), name=name, transport="tcp"))
    answer = world.gateway.ask(name)
    assert (rcode(answer), records(answer)) == ("SERVFAIL", [])


@pytest.mark.parametrize(
    ("habits", "connections"),
    [
        pytest.param((), 3, id="who answers one after the other"),
        pytest.param((OutOfOrder(2),), 3, id="who answers in another order"),
        pytest.param((Delay(0.05),), 3, id="who takes his time"),
        pytest.param((CloseAfter(2),), QUESTIONS, id="who hangs up again and again"),
    ],
)
def test_questions_share_connections_to_their_server(
    world: SplitWorld, habits: tuple[Habit, ...], connections: int
) -> None:
    world.outside.obey(on(Truncated(), transport="udp"), on(*habits, transport="tcp"))
    names = [f"x{number}.many.example" for number in range(QUESTIONS)]
    with world.gateway.stream() as client:
        client.sendall(b"".join(_framed(name, number) for number, name in enumerate(names)))
        answers = sorted((_read(client) for _ in names), key=lambda answer: answer.id)
    assert [records(answer) for answer in answers] == [[f"{name}. A 198.51.100.7"] for name in names]
    heard = [one for one in world.outside.heard() if one.transport == "tcp"]
    # those that were left unanswered are asked again on the next connection
    assert QUESTIONS <= len(heard) <= (QUESTIONS if connections == 3 else QUESTIONS**2)
    assert len({one.port for one in heard}) <= connections


@pytest.mark.parametrize("piece", [1, 2, 3, 30])
def test_an_answer_may_come_in_pieces(world: SplitWorld, piece: int) -> None:
    world.outside.obey(on(Truncated(), transport="udp"), on(Dribble(piece), transport="tcp"))
    assert records(world.gateway.ask(NAME)) == [f"{NAME}. A 198.51.100.7"]


# --- clients by TCP


def _framed(name: str, number: int = 0) -> bytes:
    query = question(name)
    query.id = number
    data = query.to_wire()
    return len(data).to_bytes(2, "big") + data


def _read(client: socket.socket) -> dns.message.Message:
    return dns.message.from_wire(_exactly(client, int.from_bytes(_exactly(client, 2), "big")))


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        assert part, "the connection ended"
        data += part
    return data


def test_a_slow_answer_does_not_hold_up_those_behind_it(world: SplitWorld) -> None:
    world.outside.obey(on(Delay(0.15), name="slow.many.example"))
    with world.gateway.stream() as client:
        client.sendall(_framed("slow.many.example", 1) + _framed("www.example", 2) + _framed("www.corp.example", 3))
        assert {_read(client).id, _read(client).id} == {2, 3}
        assert _read(client).id == 1


def test_queries_may_come_byte_by_byte_and_the_client_may_say_that_it_is_done(world: SplitWorld) -> None:
    with world.gateway.stream() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in _framed("www.example", 1) + _framed("www.corp.example", 2):
            client.sendall(bytes((byte,)))
        client.shutdown(socket.SHUT_WR)
        assert {_read(client).id, _read(client).id} == {1, 2}
        assert client.recv(1) == b""


def test_a_client_that_does_not_read_costs_little(world: SplitWorld) -> None:
    """It gets no further than its own buffers: nobody else waits, and the resolver keeps a few answers."""
    world.outside.obey(on(Many(900), name=NAME))
    size = len(world.gateway.ask(NAME, tcp=True).to_wire())
    (resolver,) = world.gateway.resolvers()
    before = proc.anonymous_kib(resolver)
    with world.gateway.stream() as client:
        client.setblocking(False)
        queries = _framed(NAME) * 1500
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < len(queries):
                sent += client.send(queries[sent:])
                assert world.gateway.ask("www.corp.example").answer
        assert records(world.gateway.ask("www.example", tcp=True)) == ["www.example. A 198.51.100.1"]
        assert proc.anonymous_kib(resolver) - before < 8192, "kept in memory, of as much as the client asked for"
        assert 1500 * size > 16 << 20
        client.settimeout(10)
        for _ in range(min(20, sent // len(_framed(NAME)))):  # and then it reads after all
            assert len(records(_read(client))) == 900
