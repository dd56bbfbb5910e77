"""One question to one server that is honest, guesses, is old, or breaks off: what is taken for its answer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import pytest

from gateway.address import Address, Endpoint
from gateway.client import HostEntry, NameServers, Patience, TryAgain
from gateway.client.exchange import MAX_WRONG, Limits, Question, Wait, ask
from gateway.dns.constants import A
from gateway.dns.names import wire_name
from tests.unit.client.calls import Calls, in_time
from tests.unit.client.servers import HOST, Habit, Message, Server, Zone, answer, holding, serving, sockets, truncated

ZONE: Zone = {"host.example.net": ["A 198.51.100.7"]}
BIG: Zone = {"big.example.net": [f"A 10.{n // 250}.0.{n % 250}" for n in range(800)]}
SURE = Patience(10.0, 1)
QUICK = Patience(0.2, 1)


def look_up(calls: Calls, server: Server | Endpoint, patience: Patience, name: str = "host.example.net") -> HostEntry:
    endpoint = server.endpoint if isinstance(server, Server) else server
    return calls.by_name(name, NameServers((), (endpoint,)), patience)


def lied(lie: Callable[[Message], bytes], before: int, truth_too: bool = True) -> Habit:
    """So many lies before the truth, by UDP."""

    def habit(query: Message, transport: str) -> list[bytes]:
        truth = [answer(query, ZONE).to_wire()]
        if transport == "tcp":
            return truth
        return [lie(query)] * before + (truth if truth_too else [])

    return habit


def other_id(query: Message) -> bytes:
    response = answer(query, {"host.example.net": ["A 203.0.113.66"]})
    response.id ^= 1
    return response.to_wire()


def other_case(query: Message) -> bytes:
    wire = bytearray(answer(query, {"host.example.net": ["A 203.0.113.66"]}).to_wire())
    wire[13] ^= 0x20
    return bytes(wire)


def other_question(query: Message) -> bytes:
    wire = bytearray(query.to_wire())
    wire[13:17] = b"most"
    return answer(dns.message.from_wire(bytes(wire)), {"most.example.net": ["A 203.0.113.66"]}).to_wire()


def own_query(query: Message) -> bytes:
    return query.to_wire()


def nothing(_: Message) -> bytes:
    return b""


def cut(query: Message) -> bytes:
    return answer(query, ZONE).to_wire()[:-1]


LIES = [other_id, other_question, other_case, own_query, nothing, cut]


@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_answer_to_the_question_is_passed_over(calls: Calls, lie: Callable[[Message], bytes]) -> None:
    with serving(lied(lie, MAX_WRONG - 1)) as (server,):
        assert list(map(str, look_up(calls, server, SURE).addresses)) == ["198.51.100.7"]
        assert {transport for _, _, transport in server.asked} == {"udp"}


@pytest.mark.parametrize("lie", LIES)
def test_several_wrong_answers_lead_to_tcp(calls: Calls, lie: Callable[[Message], bytes]) -> None:
    with serving(lied(lie, MAX_WRONG)) as (server,):
        assert list(map(str, look_up(calls, server, SURE).addresses)) == ["198.51.100.7"]
        assert {transport for _, _, transport in server.asked} == {"udp", "tcp"}


def test_one_wrong_answer_and_none_else_leads_to_tcp(calls: Calls) -> None:
    with serving(lied(other_id, 1, truth_too=False)) as (server,):
        entry = in_time(calls.by_name, "host.example.net", NameServers((), (server.endpoint,)))
        assert list(map(str, entry.addresses)) == ["198.51.100.7"]


def test_a_server_that_changes_the_letter_case_is_served_by_tcp(calls: Calls) -> None:
    def lowering(query: Message, _: str) -> list[bytes]:
        wire = answer(query, ZONE).to_wire()
        return [wire[:12] + wire[12:].replace(wire[12:30], wire[12:30].lower(), 1)]

    with serving(lowering) as (server,):
        entry = in_time(calls.by_name, "host.example.net", NameServers((), (server.endpoint,)))
        assert entry.name == "host.example.net"


def test_questions_have_chance_in_their_id_their_case_and_their_port(calls: Calls) -> None:
    with serving(holding(ZONE)) as (server,):
        for _ in range(8):
            look_up(calls, server, SURE)
        names = {query.question[0].name.to_text() for query in server.queries}
        assert len(names) > 8
        assert len({query.id for query in server.queries}) > 8
        assert all(query.payload == 1232 and not query.options for query in server.queries)


def test_an_answer_that_was_truncated_is_asked_for_by_tcp(calls: Calls) -> None:
    with serving(truncated(BIG)) as (server,):
        assert len(look_up(calls, server, SURE, "big.example.net").addresses) == 800


def test_a_server_without_edns_is_asked_without_it(calls: Calls) -> None:
    def old(query: Message, _: str) -> list[bytes]:
        if query.edns >= 0:
            response = dns.message.make_response(query)
            response.use_edns(-1)
            response.set_rcode(dns.rcode.FORMERR)
            return [response.to_wire()]
        return [answer(query, ZONE).to_wire()]

    with serving(old) as (server,):
        assert look_up(calls, server, SURE).name == "host.example.net"


def test_a_server_that_finds_fault_with_everything_is_asked_twice_and_no_more(calls: Calls) -> None:
    def never(query: Message, _: str) -> list[bytes]:
        response = dns.message.make_response(query)
        response.use_edns(-1)
        response.set_rcode(dns.rcode.FORMERR)
        return [response.to_wire()]

    with serving(never) as (server,):
        with pytest.raises(TryAgain, match="says FORMERR"):
            look_up(calls, server, SURE)
        assert len(server.asked) == 4


def test_an_answer_that_is_truncated_even_by_tcp_is_none(calls: Calls) -> None:
    def short(query: Message, _: str) -> list[bytes]:
        response = answer(query, ZONE)
        response.flags |= dns.flags.TC
        return [response.to_wire()]

    with serving(short) as (server,), pytest.raises(TryAgain, match="sent a wrong answer: truncated, by TCP"):
        look_up(calls, server, SURE)


@contextmanager
def crooked(talk: Callable[[socket.socket, bytes], None]) -> Iterator[Endpoint]:
    """A server that truncates by UDP and does that by TCP, with the message that it got."""
    stream, datagram = sockets()
    with stream, datagram:
        port = stream.getsockname()[1]
        stream.settimeout(10)
        datagram.settimeout(10)

        def serve() -> None:
            for _ in range(2):
                data, client = datagram.recvfrom(512)
                response = dns.message.make_response(dns.message.from_wire(data))
                response.flags |= dns.flags.TC
                datagram.sendto(response.to_wire(), client)
            for _ in range(2):
                connection, _ = stream.accept()
                with connection:
                    connection.settimeout(10)
                    talk(connection, connection.recv(512)[2:])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Endpoint(Address(4, 0x7F00_0001), port)
        finally:
            thread.join()


def wait_for_the_end(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def half_an_answer(connection: socket.socket, query: bytes) -> None:
    wire = answer(dns.message.from_wire(query), ZONE).to_wire()
    connection.sendall(len(wire).to_bytes(2, "big") + wire[:-1])


@pytest.mark.parametrize(
    ("talk", "patience", "fault"),
    [
        (lambda _, __: None, SURE, "it closed the connection"),
        (half_an_answer, SURE, "it closed the connection"),
        (wait_for_the_end, QUICK, "did not answer in time"),
        (lambda connection, _: connection.sendall(b"\0\0"), SURE, "sent a wrong answer"),
    ],
    ids=["closes at once", "closes within the answer", "says nothing", "sends an empty message"],
)
def test_a_connection_that_gives_no_answer_is_a_failure_that_says_why(
    calls: Calls, talk: Callable[[socket.socket, bytes], None], patience: Patience, fault: str
) -> None:
    with crooked(talk) as endpoint, pytest.raises(TryAgain, match=fault):
        look_up(calls, endpoint, patience)


def test_an_answer_that_drips_is_put_together(calls: Calls) -> None:
    def drip(connection: socket.socket, query: bytes) -> None:
        wire = answer(dns.message.from_wire(query), ZONE).to_wire()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in len(wire).to_bytes(2, "big") + wire:
            connection.sendall(bytes([octet]))

    with crooked(drip) as endpoint:
        assert look_up(calls, endpoint, SURE).name == "host.example.net"


def test_an_answer_from_another_port_is_not_heard(calls: Calls) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((HOST, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind((HOST, 0))
            mute.settimeout(10)

            def serve() -> None:
                for _ in range(2):
                    data, client = mute.recvfrom(512)
                    stranger.sendto(answer(dns.message.from_wire(data), ZONE).to_wire(), client)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(TryAgain, match="did not answer in time"):
                look_up(calls, Endpoint(Address(4, 0x7F00_0001), mute.getsockname()[1]), QUICK)
            thread.join()


def test_an_exchange_that_is_closed_closes_its_socket() -> None:
    with serving(holding(ZONE)) as (server,):
        question = Question(wire_name("host.example.net"), A, lambda _: True)
        step = ask(question, server.endpoint, Limits(1e9, 1e9), lambda _: 1)
        wait: Wait = next(step)
        assert wait.socket.fileno() >= 0
        step.close()
        assert wait.socket.fileno() == -1


def test_a_server_of_a_family_that_this_host_has_not_is_a_failure_that_says_why(calls: Calls) -> None:
    unroutable = Endpoint(Address(6, 0x100 << 112 | 1), 53)  # 100::/64 leads nowhere (RFC 6666)
    with pytest.raises(TryAgain, match=r"100::1 (can not be asked|did not answer in time)"):
        calls.by_name("host.example.net", NameServers((), (unroutable,)), QUICK)
