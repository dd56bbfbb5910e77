"""The daemon's end: requests in order however they arrive, answers at the reader's pace, and hostile peers."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.control.client import ControlClient
from gateway.control.protocol import (
    MAX_REQUEST,
    VERSION,
    ControlError,
    Filter,
    Kill,
    Listed,
    Request,
    Sessions,
    Status,
    Tail,
    encode_request,
)
from gateway.control.reply import MAX_WAITING
from gateway.control.server import IDLE_SECONDS, MAX_CONNECTIONS, Gate, Peer, Reply, Server, listen
from tests.support.waiting import eventually
from tests.unit.control.driver import House, Operator, as_root, in_child, live

ASK = encode_request(Status())
TAIL = encode_request(Tail())


def echo(request: Request, reply: Reply) -> None:
    """Says what was asked."""
    reply.row({"asked": type(request).__name__})
    reply.done({"ok": True})


ANSWERED = ([{"asked": "Status"}], {"done": {"ok": True}})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "s", echo)
    yield made
    made.loop.close()


class Later:
    """Keeps replies, to be answered when the test says so; notes whose peers went."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.gone: list[Reply] = []

    def __call__(self, _request: Request, reply: Reply) -> None:
        reply.on_close = lambda: self.gone.append(reply)
        self.replies.append(reply)


@pytest.fixture
def later(house: House) -> Later:
    made = Later()
    house.handle = made
    return made


# Requests


def test_a_request_is_answered_and_the_next_one_too(house: House) -> None:
    operator = house.operator()
    for _ in range(3):
        operator.send(ASK)
        assert operator.answer() == ANSWERED
    operator.send(encode_request(Sessions(Filter(user="fred"))))
    assert operator.answer()[0] == [{"asked": "Sessions"}]


def test_byte_by_byte_it_is_the_same_request(house: House) -> None:
    operator = house.operator()
    for byte in ASK:
        operator.send(bytes((byte,)))
        house.loop.rest()
    assert operator.answer() == ANSWERED


def test_what_follows_a_request_in_the_same_bytes_is_the_next_one(house: House) -> None:
    operator = house.operator()
    kill = encode_request(Kill(Filter(user="fred")))
    operator.send(ASK + kill + ASK + ASK[:5])
    assert [operator.answer()[0][0]["asked"] for _ in range(3)] == ["Status", "Kill", "Status"]
    house.loop.rest()
    operator.send(ASK[5:])
    assert operator.answer() == ANSWERED


def test_a_long_request_in_pieces_does_not_hide_the_shorter_one_after_it(house: House) -> None:
    operator = house.operator()
    long = ASK[:-1] + b" " * 1000 + b"\n"
    operator.send(long[:-1])
    house.loop.rest()
    operator.send(b"\n" + ASK)
    assert operator.answer() == ANSWERED
    assert operator.answer() == ANSWERED


def test_a_request_waits_until_the_one_before_it_is_answered(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(ASK + ASK)
    house.loop.rest()
    assert len(later.replies) == 1
    later.replies[0].done("first")
    house.loop.rest()
    assert len(later.replies) == 2
    later.replies[1].done("second")
    assert operator.answer() == ([], {"done": "first"})
    assert operator.answer() == ([], {"done": "second"})


def test_many_requests_at_once_are_answered_one_after_the_other_with_bounded_memory(house: House) -> None:
    operator = house.operator()
    count = 4 * MAX_REQUEST // len(ASK)
    operator.send(ASK * count)
    for _ in range(count):
        assert operator.answer() == ANSWERED


def test_while_one_is_answered_not_more_is_read_than_the_longest_request(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(ASK + b"x" * MAX_REQUEST)
    house.loop.rest()

    def takes_more() -> bool:
        try:
            operator.sock.send(b"x" * MAX_REQUEST)
        except BlockingIOError:
            return False
        house.loop.rest()
        return True

    assert any(not takes_more() for _ in range(1000))
    assert len(later.replies) == 1


def test_connections_do_not_wait_for_one_another(house: House, later: Later) -> None:
    first, second = house.operator(), house.operator()
    first.send(ASK)
    house.loop.rest()
    second.send(ASK)
    house.loop.rest()
    later.replies[1].done("quick")
    assert second.answer() == ([], {"done": "quick"})
    later.replies[0].done("slow")
    assert first.answer() == ([], {"done": "slow"})


REFUSED = [
    pytest.param(b"\n", "no request of the control protocol: ", id="an empty line"),
    pytest.param(b"GET / HTTP/1.1\r\n", "no request of the control protocol: ", id="another protocol"),
    pytest.param(b"\xff\xfe\n", "no request of the control protocol: ", id="no text"),
    pytest.param(b'{"v":1,"command":"fly"}\n', "no request of the control protocol: ", id="an unknown command"),
    pytest.param(b'{"v":1,"command":"status","x":1}\n', "no request of the control protocol: ", id="an unknown key"),
    pytest.param(b'{"command":"status"}\n', f"this sockd speaks version {VERSION} of", id="no version"),
    pytest.param(b'{"v":2,"command":"status"}\n', f"this sockd speaks version {VERSION} of", id="another version"),
    pytest.param(b"[" * 60_000 + b"\n", "no request of the control protocol: ", id="brackets without end"),
]


@pytest.mark.parametrize(("line", "error"), REFUSED)
def test_what_is_no_request_is_refused_and_the_next_one_is_answered(house: House, line: bytes, error: str) -> None:
    operator = house.operator()
    operator.send(line + ASK)
    rows, end = operator.answer()
    assert rows == []
    assert end["error"].startswith(error)
    assert operator.answer() == ANSWERED
    assert house.loop.lines == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"x" * (MAX_REQUEST + 1), id="without an end"),
        pytest.param(b"x" * MAX_REQUEST + b"\n", id="with an end one byte too late"),
        pytest.param(b"x" * (1 << 20), id="of a megabyte"),
    ],
)
def test_a_line_that_is_too_long_ends_the_connection_with_a_reason(house: House, line: bytes) -> None:
    operator = house.operator()
    _send_what_goes(operator, line)
    assert operator.answer() == ([], {"error": f"a request is one line of at most {MAX_REQUEST} bytes"})
    assert operator.line() is None
    assert len(house.loop.selector.get_map()) == 1


def _send_what_goes(operator: Operator, data: bytes) -> None:
    """The rest of a long line may find the connection closed."""
    while data:
        try:
            data = data[operator.sock.send(data) :]
        except BlockingIOError:
            operator.loop.turn()
        except (BrokenPipeError, ConnectionResetError):
            return


def test_the_longest_line_that_is_allowed_is_read(house: House) -> None:
    operator = house.operator()
    operator.send(ASK[:-1] + b" " * (MAX_REQUEST - len(ASK)) + b"\n")
    assert operator.answer() == ANSWERED


# Answers


def test_an_error_that_is_meant_for_the_operator_is_the_answer(house: House) -> None:
    def refuse(_request: Request, _reply: Reply) -> None:
        raise ControlError("an empty filter would end every session")

    house.handle = refuse
    operator = house.operator()
    operator.send(ASK)
    assert operator.answer() == ([], {"error": "an empty filter would end every session"})
    assert house.loop.lines == []


def test_a_bug_costs_its_request_is_written_to_the_log_and_the_next_one_is_answered(house: House) -> None:
    def fail(_request: Request, reply: Reply) -> None:
        reply.row("half")
        house.handle = echo
        raise KeyError("oops")

    house.handle = fail
    operator = house.operator()
    operator.send(ASK)
    assert operator.answer() == (["half"], {"error": "sockd failed at this request; its log says why"})
    assert len(house.loop.lines) == 1
    assert house.loop.lines[0].startswith("control socket: a request failed: KeyError at ")
    operator.send(ASK)
    assert operator.answer() == ANSWERED


def test_ten_thousand_rows_arrive_whole_while_little_of_them_waits(house: House) -> None:
    made = 0

    def rows() -> Iterator[object]:
        nonlocal made
        for made in range(1, 10_001):
            yield live(session=f"s-{made}")

    def listing(_request: Request, reply: Reply) -> None:
        reply.rows(rows())
        reply.done(Listed(10_000))

    house.handle = listing
    operator = house.operator()
    operator.send(ASK)
    house.loop.rest()
    assert made < 5_000, "rows were made for a reader that does not read"
    found, end = operator.answer()
    assert [row["session"] for row in found] == [f"s-{number}" for number in range(1, 10_001)]
    assert end == {"done": {"matched": 10_000}}


@pytest.mark.parametrize(
    ("error", "text", "logged"),
    [
        pytest.param(ControlError("gone meanwhile"), "gone meanwhile", 0, id="on purpose"),
        pytest.param(ZeroDivisionError("bug"), "sockd failed at this request; its log says why", 1, id="by a bug"),
    ],
)
def test_rows_that_can_not_be_made_end_the_answer_with_an_error(
    house: House, error: Exception, text: str, logged: int
) -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise error

    def listing(_request: Request, reply: Reply) -> None:
        reply.rows(rows())
        reply.done("never")

    house.handle = listing
    operator = house.operator()
    operator.send(ASK)
    assert operator.answer() == ([1], {"error": text})
    assert len(house.loop.lines) == logged
    house.handle = echo
    operator.send(ASK)
    assert operator.answer() == ANSWERED


def test_a_stream_goes_on_until_its_reader_leaves(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(TAIL)
    house.loop.rest()
    (reply,) = later.replies
    for number in range(3):
        assert reply.row(number)
        assert operator.line() == {"v": 1, "row": number}
    operator.sock.close()
    house.loop.rest()
    assert later.gone == [reply]
    assert reply.is_closed
    assert not reply.row(3)
    reply.done("nobody hears it")
    house.loop.rest()
    assert later.gone == [reply]


def test_a_reader_that_never_reads_loses_rows_and_costs_a_bounded_memory_and_nobody_else(
    house: House, later: Later
) -> None:
    operator, other = house.operator(), house.operator()
    operator.send(TAIL)
    house.loop.rest()
    lost = 0
    for _ in range(4_000):
        lost += not later.replies[0].row("x" * 1000)
        house.loop.turn()
    assert lost > 1_000
    assert 4_000 - lost < 1.5 * MAX_WAITING / 1000
    assert house.loop.turn() == 0, "the loop spins on a reader that does not read"
    house.handle = echo
    other.send(ASK)
    assert other.answer() == ANSWERED
    kept = [operator.line()["row"] for _ in range(4_000 - lost)]
    assert set(kept) == {"x" * 1000}
    assert later.replies[0].row("again")
    assert operator.line() == {"v": 1, "row": "again"}


# The ends of connections


def test_a_peer_that_leaves_in_the_middle_of_an_answer_is_forgotten(house: House) -> None:
    def listing(_request: Request, reply: Reply) -> None:
        reply.rows(live(session=f"s-{number}") for number in range(10_000))
        reply.done(Listed(10_000))

    house.handle = listing
    operator = house.operator()
    operator.send(ASK)
    assert operator.line()["row"]["session"] == "s-0"
    operator.sock.close()
    house.loop.rest()
    assert len(house.loop.selector.get_map()) == 1
    assert house.loop.lines == []


def test_a_peer_that_leaves_in_the_middle_of_a_request_is_forgotten(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(ASK[:-1])
    house.loop.rest()
    operator.sock.close()
    house.loop.rest()
    assert later.replies == []
    assert len(house.loop.selector.get_map()) == 1


def test_a_request_of_a_peer_that_does_not_wait_for_the_answer_is_heard_all_the_same(
    house: House, later: Later
) -> None:
    operator = house.operator()
    operator.send(ASK)
    operator.sock.close()
    house.loop.rest()
    assert len(later.replies) == 1
    assert later.gone == later.replies


def test_a_peer_that_says_no_more_still_gets_its_answers(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(ASK + ASK)
    operator.sock.shutdown(socket.SHUT_WR)
    house.loop.rest()
    assert later.gone == []
    later.replies[0].done(1)
    house.loop.rest()
    later.replies[1].done(2)
    assert operator.answer() == ([], {"done": 1})
    assert operator.answer() == ([], {"done": 2})
    assert operator.line() is None
    assert later.gone == []


def test_a_peer_that_said_no_more_and_left_then_is_noticed_by_the_tick(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(TAIL)
    operator.sock.shutdown(socket.SHUT_WR)
    house.loop.rest()
    house.server.tick()
    assert later.gone == []
    operator.sock.close()
    house.loop.rest()
    house.server.tick()
    assert later.gone == later.replies


def test_a_bug_in_who_is_told_of_an_end_stays_his(house: House) -> None:
    def handle(_request: Request, reply: Reply) -> None:
        def fail() -> None:
            raise KeyError("oops")

        reply.on_close = fail

    house.handle = handle
    operator = house.operator()
    operator.send(TAIL)
    house.loop.rest()
    operator.sock.close()
    house.loop.rest()
    assert "KeyError" in house.loop.lines[0]
    assert len(house.loop.selector.get_map()) == 1


def test_an_idle_connection_is_closed_after_its_time_and_not_before(house: House) -> None:
    operator = house.operator()
    house.loop.rest()
    house.loop.now += IDLE_SECONDS - 0.01
    house.server.tick()
    operator.send(ASK)
    assert operator.answer() == ANSWERED
    house.loop.now += IDLE_SECONDS - 0.01
    house.server.tick()
    assert not operator.is_shut()
    house.loop.now += 0.01
    house.server.tick()
    assert operator.is_shut()


def test_a_request_that_trickles_in_does_not_make_a_connection_busy(house: House) -> None:
    operator = house.operator()
    for byte in ASK[:10]:
        operator.send(bytes((byte,)))
        house.loop.rest()
        house.loop.now += IDLE_SECONDS / 10
        house.server.tick()
    assert operator.is_shut()


def test_a_stream_and_an_unanswered_request_may_take_as_long_as_they_like(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(TAIL)
    house.loop.rest()
    house.loop.now += 10 * IDLE_SECONDS
    house.server.tick()
    later.replies[0].done("at last")
    house.server.tick()
    assert operator.answer() == ([], {"done": "at last"})
    house.loop.now += IDLE_SECONDS - 0.01
    house.server.tick()
    assert not operator.is_shut()


def test_an_answer_that_nobody_reads_is_given_up(house: House) -> None:
    def listing(_request: Request, reply: Reply) -> None:
        reply.rows("x" * 1000 for _ in range(10_000))
        reply.done(None)

    house.handle = listing
    operator = house.operator()
    operator.send(ASK)
    house.loop.rest()
    house.loop.now += IDLE_SECONDS
    house.server.tick()
    assert len(house.loop.selector.get_map()) == 1


def test_a_closed_server_sends_what_it_can_and_tells_who_still_answers(house: House, later: Later) -> None:
    answered, streaming = house.operator(), house.operator()
    answered.send(ASK)
    streaming.send(TAIL)
    house.loop.until(lambda: len(later.replies) == 2)
    for reply in later.replies:
        reply.row("x" * 1000)
    later.replies[0].done("the end")
    house.server.close()
    house.server.close()
    assert not house.loop.selector.get_map()
    ends = [operator.answer()[1] if operator is answered else operator.line() for operator in (answered, streaming)]
    assert ends[0] == {"done": "the end"}
    assert ends[1]["row"] == "x" * 1000
    assert streaming.line() is None
    assert later.gone == [later.replies[1]]


# Who may, and how many


def test_the_connection_after_the_last_gets_a_reason_and_a_place_that_is_left_is_given_again(house: House) -> None:
    operators = [house.operator() for _ in range(MAX_CONNECTIONS)]
    for operator in operators:
        operator.send(ASK)
        assert operator.answer() == ANSWERED
    late = house.operator()
    assert late.answer() == (
        [], {"error": f"{MAX_CONNECTIONS} connections are open already; end one of them, or try again later"}
    )  # fmt: skip
    assert late.line() is None
    operators[3].sock.close()
    house.loop.rest()
    operator = house.operator()
    operator.send(ASK)
    assert operator.answer() == ANSWERED


def test_who_may_not_is_told_what_it_takes_and_the_log_who_it_was_at_a_bounded_rate(
    house: House, monkeypatch: pytest.MonkeyPatch, later: Later
) -> None:
    monkeypatch.setattr(house.server, "_allowed", Gate(-1, 4, "root or group adm"))
    monkeypatch.setattr("gateway.control.server.peer_of", lambda _sock: Peer(77, 1001, 1001, frozenset()))
    for _ in range(5):
        operator = house.operator()
        assert operator.answer() == ([], {"error": "user 1001 may not ask this sockd: that takes root or group adm"})
        assert operator.line() is None
    assert house.loop.lines == ["control socket: process 77 of user 1001 was refused: that takes root or group adm"]
    house.loop.now += 10.0
    assert house.operator().answer()[1]["error"].startswith("user 1001")
    assert house.loop.lines[1].endswith(" (4 more before it, not told)")
    assert later.replies == []


@as_root
@pytest.mark.parametrize(
    ("user", "groups", "enters"),
    [
        pytest.param(54321, (54322,), True, id="a member of the group is answered"),
        pytest.param(54321, (54323,), False, id="a stranger is turned away"),
    ],
)
def test_real_users(house: House, user: int, groups: tuple[int, ...], enters: bool) -> None:
    # By a socket without a file, so that only the server's own check stands between.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
    name = listener.getsockname()
    gate = Gate(0, 54322, "root or group 54322")
    server = Server(listener, house.loop.selector, gate, echo, house.loop.trouble, house.loop.clock)
    house.loop.closing(server.close)

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(name)
            with ControlClient(sock) as client:
                if enters:
                    assert client.ask(Status()) == ([{"asked": "Status"}], {"ok": True})
                    return
                with pytest.raises(ControlError, match="may not ask this sockd: that takes root or group 54322"):
                    client.ask(Status())

    pid = os.fork()
    if pid == 0:
        os._exit(in_child(ask, user, user, groups))
    status = house.loop.until(lambda: os.waitpid(pid, os.WNOHANG)[1:] if _has_ended(pid) else None)
    assert status == (0,)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_a_child_that_forsakes_the_server_leaves_it_to_its_parent(house: House, later: Later) -> None:
    operator = house.operator()
    operator.send(TAIL)
    house.loop.rest()
    assert in_child(house.server.forsake) == 0
    later.replies[0].row(1)
    assert operator.line() == {"v": 1, "row": 1}
    other = house.operator()
    other.send(ASK)
    house.loop.rest()
    later.replies[1].done(2)
    assert other.answer() == ([], {"done": 2})


# With the real client


def serving(path: Path, handle: Callable[[Request, Reply], None]) -> int:
    """A process that serves until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            house = House(path, handle)
            while True:
                house.loop.turn(1.0)
        finally:
            os._exit(1)
    return pid


def test_the_client_and_the_server_understand_each_other(tmp_path: Path) -> None:
    def listing(request: Request, reply: Reply) -> None:
        if isinstance(request, Kill):
            raise ControlError("an empty filter would end every session")
        reply.rows(live(session=f"s-{number}") for number in range(3_000))
        reply.done(Listed(3_000))

    path = tmp_path / "s"
    pid = serving(path, listing)
    try:
        assert eventually(path.exists)
        assert eventually(lambda: _connects(str(path)))
        with ControlClient.connect(str(path)) as client:
            rows, done = client.ask(Sessions())
            assert (len(rows), done) == (3_000, {"matched": 3_000})
            with pytest.raises(ControlError, match="an empty filter would end every session"):
                client.ask(Kill())
            assert [row["session"] for row in client.rows(Sessions())] == [f"s-{n}" for n in range(3_000)]
            assert client.done == {"matched": 3_000}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _connects(path: str) -> bool:
    try:
        ControlClient.connect(path).close()
    except ControlError:
        return False
    return True


def test_answers_are_json_lines_of_this_version(house: House) -> None:
    operator = house.operator()
    operator.send(ASK)
    assert house.loop.until(lambda: not operator.is_shut() and operator._received.count(b"\n") == 2)
    assert all(json.loads(line)["v"] == VERSION for line in operator._received.splitlines())


def test_listen_is_offered_here(tmp_path: Path) -> None:
    listen(str(tmp_path / "other"), 0o600, None).close()
