"""Clients from their acceptance to their relay or refusal, on real sockets, with fakes for all that blocks."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.net.pipes import Pipe, PipePool
from gateway.net.runner import LINGER_BYTES, LINGER_SECONDS
from gateway.session.record import Record, Result
from tests.support.peers import closed_port
from tests.support.playbook import Notebook
from tests.support.rawsocks import greeting, http, password, socks4, socks4a, socks5
from tests.support.waiting import least
from tests.unit.net.stage import House, closed_after, descriptors, finish, reset

GRANTED, REJECTED = b"\0\x5a", b"\0\x5b"


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port where nobody listens, nor can."""
    with closed_port() as port:
        yield port


# From the request to the relay and its record


@pytest.mark.parametrize("protocol", ["SOCKS4", "SOCKS4A", "SOCKS5", "HTTP"])
def test_a_session_from_beginning_to_end(house: House, protocol: str) -> None:
    server = house.server()
    port = port_of(server)
    house.names["localhost"] = lambda: ("127.0.0.1",)
    openings = {
        "SOCKS4": ((socks4("127.0.0.1", port), 8),),
        "SOCKS4A": ((socks4a(b"localhost", port), 8),),
        "SOCKS5": ((greeting(0), 2), (socks5("127.0.0.1", port), 10)),
        "HTTP": ((http(f"localhost:{port}"), 39),),
    }
    client = house.client()
    for said, answer in openings[protocol]:
        house.write(client, said)
        assert len(house.read(client, answer)) == answer
    target = house.called(server)
    egress = "{}:{}".format(*target.getpeername())
    house.write(client, b"question")
    assert house.read(target, 8) == b"question"
    house.write(target, b"answer")
    finish(target)
    assert house.read_to_end(client) == b"answer"
    client.close()
    (record,) = house.ended()
    assert (record.result, record.sent, record.received, record.end) == (Result.CONNECTED, 8, 6, "the target closed")
    assert record.address == "127.0.0.1"
    assert record.egress == egress
    assert house.runner.open == 0


def test_the_reply_carries_the_outgoing_socket(house: House) -> None:
    server = house.server()
    client = house.client(greeting(0), socks5("127.0.0.1", port_of(server)))
    target = house.called(server)
    host, port = target.getpeername()
    assert house.read(client, 12) == b"\5\0\5\0\0\1" + socket.inet_aton(host) + port.to_bytes(2, "big")


def test_ipv6_in_and_out() -> None:
    house = House(host="::1")
    with closed_after(house):
        server = house.server("::1")
        client = house.client(greeting(0), socks5("::1", port_of(server)))
        house.called(server)
        assert house.read(client, 6) == b"\5\0\5\0\0\4"
        client.close()
        (record,) = house.ended()
        assert record.client.startswith("[::1]:")


def test_a_refused_connection_is_answered_and_closed(house: House, free_port: int) -> None:
    client = house.client(greeting(0), socks5("127.0.0.1", free_port))
    assert house.read_to_end(client) == b"\5\0" + bytes((5, 5, 0, 1, 0, 0, 0, 0, 0, 0))
    (record,) = house.ended()
    assert (record.result, record.end) == (Result.FAILED, "connect() Connection refused")


def test_a_refusal_arrives_even_if_the_client_has_said_more(house: House) -> None:
    """Closing over unread bytes would send a reset, which overtakes the answer."""
    client = house.client(socks4("192.0.2.1", 80) + b"GET / HTTP/1.0\r\n\r\n" * 100)
    assert house.read(client, 2) == REJECTED
    house.write(client, b"and still more")
    assert house.end_of(client) in ("data", "fin")


# A target that speaks first


@pytest.mark.parametrize("banner", [b"", b"220 ready\r\n", b"x" * 300_000], ids=["nothing", "a banner", "much"])
@pytest.mark.parametrize("end", ["stays", "ends", "resets"])
def test_what_the_target_says_at_once_follows_the_reply_at_once(house: House, banner: bytes, end: str) -> None:
    # A segment that is kept back for more leaves after 200 ms by itself.
    assert least(lambda: seconds_to_hear(house, banner, end), below=0.15) < 0.15


def seconds_to_hear(house: House, banner: bytes, end: str) -> float:
    """Until the client has all that a target says, which speaks before the gateway has seen that it is connected."""
    server = house.server()
    client = house.client(socks4("127.0.0.1", port_of(server)))
    target = dialled(house, server)
    sent = target.send(banner) if banner else 0
    if end == "ends":
        finish(target)
    elif end == "resets":
        reset(target)
    started = time.monotonic()
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while len(data) < 8 + sent and (piece := house.run(house.loop.sock_recv(client, 1 << 16))):
            data += piece
    if end != "resets":
        assert bytes(data[:2]) == GRANTED
        assert bytes(data[8:]) == banner[:sent]
    if end == "ends":
        assert house.end_of(client) == "fin"
    return time.monotonic() - started


def dialled(house: House, server: socket.socket) -> socket.socket:
    """The connection that a target gets, as early as it can be had."""
    for _ in range(1000):
        house.one_round()
        with contextlib.suppress(BlockingIOError):
            target, _ = server.accept()
            house.far.append(target)
            target.setblocking(False)
            return target
    raise AssertionError("the target was not called")


# Early data and early ends


@pytest.mark.parametrize("early", [b"", b"early data"], ids=["no early data", "early data"])
@pytest.mark.parametrize("by_name", [False, True], ids=["an address", "a name"])
def test_data_and_end_in_the_segment_of_the_request(house: House, early: bytes, by_name: bool) -> None:
    server = house.server()
    house.names["localhost"] = lambda: ("127.0.0.1",)
    request = socks4a(b"localhost", port_of(server)) if by_name else socks4("127.0.0.1", port_of(server))
    client = house.client(request + early)
    finish(client)
    target = house.called(server)
    assert house.read_to_end(target) == early
    house.write(target, b"answer")
    target.close()
    assert house.read_to_end(client)[8:] == b"answer"


@pytest.mark.parametrize("early", [b"", b"early data", b"x" * 100_000], ids=["nothing", "a little", "much"])
@pytest.mark.parametrize("ends", [False, True], ids=["stays", "ends its half"])
def test_data_and_end_while_the_request_is_worked_on(house: House, early: bytes, ends: bool) -> None:
    server = house.server()
    looking, found = threading.Event(), threading.Event()

    def slow() -> tuple[str, ...]:
        looking.set()
        found.wait(30)
        return ("127.0.0.1",)

    house.names["localhost"] = slow
    client = house.client(socks4a(b"localhost", port_of(server)))
    assert house.until(looking.is_set)
    sending = house.loop.create_task(house.loop.sock_sendall(client, early))
    house.run(sending)
    if ends:
        finish(client)
    house.rest(0.02)
    found.set()
    target = house.called(server)
    if ends:
        assert house.read_to_end(target, within=1.0) == early
    else:
        assert house.read(target, len(early)) == early


def test_a_password_a_request_and_data_all_in_one_segment() -> None:
    house = House(passwords=True)
    with closed_after(house):
        house.verifier.passwords[b"fred"] = b"geheim"
        server = house.server()
        everything = greeting(2) + password(b"fred", b"geheim") + socks5("127.0.0.1", port_of(server)) + b"early"
        client = house.client(everything)
        finish(client)
        target = house.called(server)
        assert house.read_to_end(target) == b"early"
        target.close()
        assert house.read_to_end(client)[:8] == b"\5\2\1\0\5\0\0\1"


def test_a_request_that_comes_while_the_password_is_checked() -> None:
    house = House(passwords=True)
    with closed_after(house):
        house.verifier.passwords[b"fred"] = b"geheim"
        house.verifier.answers.clear()
        server = house.server()
        client = house.client(greeting(2), password(b"fred", b"geheim"))
        assert house.until(lambda: house.verifier.asked)
        house.write(client, socks5("127.0.0.1", port_of(server)))
        finish(client)
        house.rest(0.02)
        house.verifier.answers.set()
        target = house.called(server)
        assert house.end_of(target) == "fin"
        assert house.read(client, 8) == b"\5\2\1\0\5\0\0\1"


def test_a_wrong_password_is_told_and_the_connection_closed() -> None:
    house = House(passwords=True)
    with closed_after(house):
        client = house.client(greeting(2), password(b"fred", b"x"), socks5("127.0.0.1", 80))
        assert house.read_to_end(client) == b"\5\2\1\1"
        assert house.ended()[0].end == "wrong password"


# Ident and commands


def test_identd_is_asked_about_the_pair_of_the_clients_connection() -> None:
    house = House("permit ?=i 127.0.0.0/8 127.0.0.0/8 : own %U\n")
    with closed_after(house):
        house.identd.user = "fred"
        server = house.server()
        client = house.client(socks4("127.0.0.1", port_of(server), b"fred"))
        house.called(server)
        assert house.read(client, 2) == GRANTED
        ((asked_client, asked_local),) = house.identd.asked
        assert (asked_client.port, asked_local.port) == (client.getsockname()[1], port_of(house.listening))
        assert house.shell.commands == ["own fred"]


def test_a_client_that_goes_away_while_identd_is_asked(house: House) -> None:
    with closed_after(other := House("permit ?=I 127.0.0.0/8 127.0.0.0/8\n")):
        other.identd.answers.clear()
        client = other.client(socks4("127.0.0.1", 80))
        assert other.until(lambda: other.identd.asked)
        reset(client)
        (record,) = other.ended()
        assert (record.result, record.end) == (Result.ERROR, "reset by the client")
        assert other.runner.open == 0
    assert house.runner.open == 0


# Time limits


def test_a_client_that_says_nothing_is_closed_after_the_handshake_limit(house: House) -> None:
    client = house.client()
    assert house.until(lambda: house.runner.open == 1)
    house.now += 0.07
    house.rest(0.06)
    assert house.notebook.records == []
    house.now += 0.02
    assert house.end_of(client) == "fin"
    (record,) = house.ended()
    assert (record.result, record.end) == (Result.TIMED_OUT, "timed out waiting for the client's request")


def test_bytes_that_drip_do_not_extend_the_handshake_limit(house: House) -> None:
    client = house.client(b"\4")
    assert house.until(lambda: house.runner.open == 1)
    for value in (1, 0, 80):
        house.now += 0.02
        house.write(client, bytes((value,)))
        house.rest(0.005)
    house.now += 0.03
    assert house.end_of(client) == "fin"
    assert house.ended()[0].result is Result.TIMED_OUT


def test_a_slow_look_up_ends_with_the_connect_limit(house: House) -> None:
    release = threading.Event()

    def hang() -> tuple[str, ...]:
        release.wait(30)
        return ()

    house.names["localhost"] = hang
    client = house.client(socks4a(b"localhost", 80))
    assert house.until(lambda: house.runner.open == 1)
    house.rest(0.02)
    house.now += 0.39
    house.rest(0.05)
    assert house.notebook.records == []
    house.now += 0.02
    assert house.read(client, 2) == REJECTED
    (record,) = house.ended()
    assert (record.result, record.end) == (Result.TIMED_OUT, "timed out waiting for the name look-up")
    release.set()


def test_a_target_that_does_not_answer_ends_with_the_connect_limit(house: House) -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    plugs = []
    for _ in range(2):
        plug = socket.socket()
        plug.setblocking(False)
        plug.connect_ex(full.getsockname())
        plugs.append(plug)
    house.far += [full, *plugs]
    client = house.client(socks4("127.0.0.1", port_of(full)))
    house.rest(0.03)
    assert house.notebook.records == []
    house.now += 0.5
    assert house.read(client, 2) == REJECTED
    (record,) = house.ended()
    assert (record.result, record.end) == (Result.TIMED_OUT, "timed out waiting for the connection")


def test_an_idle_relay_is_cut_and_a_busy_one_is_not(house: House) -> None:
    server = house.server()
    client, target = house.relayed(server)
    for _ in range(4):
        house.now += 2.0
        house.write(client, b"x")
        assert house.read(target, 1) == b"x"
        house.rest(0.03)
    assert house.notebook.records == []
    for _ in range(4):
        house.now += 1.5
        house.rest(0.05)
    assert house.end_of(client) == "reset"
    assert house.end_of(target) == "reset"
    (record,) = house.ended()
    assert (record.end, record.sent) == ("idle", 4)


def test_a_client_that_does_not_close_after_its_refusal_loses_its_place(house: House) -> None:
    client = house.client(socks4("192.0.2.1", 80))
    assert house.read(client, 2) == REJECTED
    house.rest(0.02)
    assert house.runner.open == 1
    house.now += LINGER_SECONDS + 0.1
    assert house.until(lambda: house.runner.open == 0)


def test_a_client_that_sends_without_end_after_its_refusal_loses_its_place(house: House) -> None:
    client = house.client(socks4("192.0.2.1", 80))
    assert house.read(client, 2) == REJECTED
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        house.write(client, b"x" * (LINGER_BYTES + (16 << 20)))
    assert house.runner.open == 0


# Clients that go away


@pytest.mark.parametrize("way", ["reset", "close"])
@pytest.mark.parametrize("count", range(9))
def test_a_client_that_leaves_at_any_byte_of_its_request_leaves_nothing(house: House, way: str, count: int) -> None:
    before = descriptors()
    client = house.client(socks4("127.0.0.1", 9, b"")[:count])
    house.rest(0.005)
    (reset if way == "reset" else socket.socket.close)(client)
    assert house.until(lambda: house.notebook.records)
    assert house.until(lambda: house.runner.open == 0)
    assert house.until(lambda: descriptors() <= before + 1)
    assert len(house.notebook.records) == 1


def test_a_client_that_resets_while_its_name_is_looked_up(house: House) -> None:
    looking, release = threading.Event(), threading.Event()

    def hang() -> tuple[str, ...]:
        looking.set()
        release.wait(30)
        return ("127.0.0.1",)

    house.names["localhost"] = hang
    server = house.server()
    client = house.client(socks4a(b"localhost", port_of(server)))
    assert house.until(looking.is_set)
    reset(client)
    (record,) = house.ended()
    assert record.end == "reset by the client"
    release.set()
    house.rest(0.02)
    with pytest.raises(TimeoutError):
        house.called(server, within=0.05)


# Places


def test_all_places_taken_by_clients_that_say_nothing_the_first_makes_room() -> None:
    house = House(sessions=3)
    with closed_after(house):
        silent = []
        for count in range(1, 4):
            silent.append(house.client())
            assert house.until(lambda count=count: house.runner.open == count)  # type: ignore[misc]
        server = house.server()
        client = house.client(socks4("127.0.0.1", port_of(server)))
        house.called(server)
        assert house.read(client, 2) == GRANTED
        assert house.end_of(silent[0]) in ("fin", "reset")
        (record,) = house.notebook.records
        assert record.end == "put out for a newer client: all places are taken"
        assert house.runner.open == 3


def test_who_has_left_already_makes_room_and_nobody_else_has_to() -> None:
    """The newcomer's event may be told before the end of one who is gone."""
    house = House(sessions=2)
    with closed_after(house):
        gone = house.client()
        assert house.until(lambda: house.runner.open == 1)
        silent = house.client()
        assert house.until(lambda: house.runner.open == 2)
        house.client()
        gone.close()
        house.rest(0.03)
        assert house.runner.open == 2
        assert house.end_of(silent, within=0.05) == "open"
        (record,) = house.notebook.records
        assert record.end == "the client closed without a word"


def test_who_waits_for_us_is_not_put_out() -> None:
    house = House(sessions=2)
    with closed_after(house):
        release = threading.Event()

        def hang() -> tuple[str, ...]:
            release.wait(30)
            return ()

        house.names["localhost"] = hang
        house.client(socks4a(b"localhost", 80))
        assert house.until(lambda: house.runner.open == 1)
        house.rest(0.01)
        silent = house.client()
        assert house.until(lambda: house.runner.open == 2)
        house.client()
        assert house.end_of(silent) in ("fin", "reset")
        assert len(house.notebook.records) == 1
        release.set()


def test_who_lingers_after_a_refusal_is_put_out_first_without_a_second_record() -> None:
    house = House(sessions=1)
    with closed_after(house):
        refused = house.client(socks4("192.0.2.1", 80))
        assert house.read(refused, 2) == REJECTED
        house.rest(0.01)
        house.client()
        house.rest(0.05)
        assert house.runner.open == 1
        (record,) = house.notebook.records
        assert record.result is Result.REFUSED


# A bug in one session


class BrokenNotebook(Notebook):
    """Raises where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks_on = "\0"
        self.breaks_records = False
        self.breaks_one_record = False

    def line(self, text: str) -> None:
        """As `Journal`."""
        if self.breaks_on in text:
            raise ZeroDivisionError("injected")
        super().line(text)

    def record(self, record: Record) -> None:
        """As `Journal`."""
        if self.breaks_records or self.breaks_one_record:
            self.breaks_one_record = False
            raise ZeroDivisionError("injected")
        super().record(record)


class Broken:
    """A house whose journal can fail."""

    def __init__(self) -> None:
        self.notebook = BrokenNotebook()
        self.house = House(notebook=self.notebook)

    def others_go_on(self) -> None:
        """A session that began before and one that begins now both work, and no place or descriptor is lost."""
        self.notebook.breaks_on, self.notebook.breaks_records = "\0", False
        house = self.house
        server = house.server()
        client, target = house.relayed(server)
        house.write(client, b"x")
        assert house.read(target, 1) == b"x"
        client.close()
        assert house.end_of(target) == "fin"
        target.close()
        assert house.until(lambda: house.runner.open == 0), "a place was lost"
        left = set(house.poller.handlers) - {house.listening.fileno()}
        assert left == set(), "a descriptor was lost"
        assert [text for text in house.log.troubles if text.startswith("internal error")], "nobody was told"
        house.log.troubles.clear()


@pytest.fixture
def broken() -> Iterator[Broken]:
    made = Broken()
    yield made
    made.house.log.troubles.clear()
    made.house.close()


def test_a_bug_when_the_connection_stands_costs_that_session_only(broken: Broken) -> None:
    broken.notebook.breaks_on = "connected -- "
    server = broken.house.server()
    client = broken.house.client(socks4("127.0.0.1", port_of(server)))
    target = broken.house.called(server)
    assert broken.house.end_of(client) in ("fin", "reset")
    assert broken.house.end_of(target) in ("fin", "reset"), "the target's connection stays open"
    broken.others_go_on()


def test_a_bug_at_a_refusal_costs_that_session_only(broken: Broken) -> None:
    broken.notebook.breaks_on = "refused -- "
    client = broken.house.client(socks4("192.0.2.1", 80))
    assert broken.house.read(client, 2) in (REJECTED, b"")
    assert broken.house.end_of(client) in ("data", "fin", "reset")
    broken.others_go_on()


def test_a_bug_in_a_background_task_costs_that_session_only(broken: Broken) -> None:
    # The name is not in the table, so the resolver raises what is no LookupFailed.
    client = broken.house.client(socks4a(b"unknown.example", 80))
    assert broken.house.end_of(client) in ("fin", "reset")
    broken.others_go_on()


def test_a_bug_at_the_end_of_a_relay_costs_that_session_only(broken: Broken) -> None:
    server = broken.house.server()
    client, target = broken.house.relayed(server)
    broken.notebook.breaks_records = True
    reset(client)
    assert broken.house.end_of(target) in ("fin", "reset")
    broken.others_go_on()


def test_a_bug_at_a_time_limit_costs_that_session_only(broken: Broken) -> None:
    """One client whose end fails again and again must not keep the limits of all that came after it."""
    house = broken.house
    broken.notebook.breaks_on = "timed out waiting for the client's request"
    first = house.client()
    assert house.until(lambda: house.runner.open == 1)
    second = house.client()
    assert house.until(lambda: house.runner.open == 2)
    house.loop.set_exception_handler(lambda _loop, context: house.log.trouble(f"internal error: {context}"))
    house.now += 0.1
    house.rest(0.05)
    broken.notebook.breaks_on = "\0"
    house.rest(0.1)
    assert house.end_of(second, within=5) in ("fin", "reset"), "the limits of the others are not kept any more"
    assert house.end_of(first, within=5) in ("fin", "reset")
    broken.others_go_on()


class BrokenPipes(PipePool):
    """A pool with a bug."""

    def take(self) -> Pipe | None:
        """As `PipePool`."""
        raise ZeroDivisionError("injected")


def test_a_bug_while_the_relay_starts_costs_that_session_only() -> None:
    house = House()
    house.runner.pipes = BrokenPipes(1)
    looking, found = threading.Event(), threading.Event()

    def slow() -> tuple[str, ...]:
        looking.set()
        found.wait(30)
        return ("127.0.0.1",)

    house.names["localhost"] = slow
    try:
        server = house.server()
        client = house.client(socks4a(b"localhost", port_of(server)))
        assert house.until(looking.is_set)
        house.write(client, b"x" * 100_000)
        house.rest(0.01)
        found.set()
        target = house.called(server)
        with contextlib.suppress(ConnectionResetError):
            house.read(target, 100_000, within=0.2)
        assert house.end_of(target, within=5) in ("fin", "reset"), "the session neither goes on nor ends"
        assert house.until(lambda: house.runner.open == 0)
    finally:
        house.log.troubles.clear()
        house.close()


def test_a_bug_while_everything_is_closed_costs_that_session_only(broken: Broken) -> None:
    house = broken.house
    server = house.server()
    relays = [house.relayed(server) for _ in range(3)]
    silent = [house.client() for _ in range(3)]
    assert house.until(lambda: house.runner.open == 6)
    house.listener.close()
    broken.notebook.breaks_one_record = True
    with contextlib.suppress(ZeroDivisionError):
        house.runner.close("shutdown")
    house.rest(0.01)
    for sock in (*silent, *(sock for relay in relays for sock in relay)):
        assert house.end_of(sock, within=5) in ("fin", "reset")
    assert len(house.notebook.records) == 5


# The end


def test_closing_ends_and_records_everybody() -> None:
    house = House()
    release = threading.Event()

    def hang() -> tuple[str, ...]:
        release.wait(30)
        return ()

    house.names["localhost"] = hang
    with closed_after(house):
        server = house.server()
        client, target = house.relayed(server)
        silent = house.client()
        waiting = house.client(socks4a(b"localhost", 80))
        assert house.until(lambda: house.runner.open == 3)
        house.rest(0.02)
        house.listener.close()
        house.runner.close("shutdown")
        for sock in (client, target, silent, waiting):
            assert house.end_of(sock) in ("fin", "reset")
        assert sorted(record.end for record in house.notebook.records) == ["shutdown"] * 3
        assert house.runner.open == 0
        release.set()
