"""What operators see of a running daemon and do to it, beside sessions that really are."""

import grp
import os
import re
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Filter, Kill, Metrics, Reload, Rules, Sessions, Status
from tests.support.crowd import Crowd
from tests.support.daemon import LOOPBACK, Sockd, sockd
from tests.support.forked import forked
from tests.support.lookout import Lookout
from tests.support.peers import Peer, echo
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.waiting import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

RULES = (
    "# two that permit\n"
    "permit 127.0.0.2/32 127.0.0.0/8\n"
    "deny 127.0.0.0/8 127.0.0.9/32\n"
    "permit 127.0.0.0/8 127.0.0.0/8\n"
)
SECOND, DENIAL, FOURTH = "sockd.conf:2", "sockd.conf:3", "sockd.conf:4"


@pytest.fixture(scope="module")
def target() -> Iterator[Peer]:
    with Peer(echo, "0.0.0.0") as peer:
        yield peer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sockd]:
    with sockd(tmp_path, RULES, workers=2) as running:
        yield running


def opened(daemon: Sockd, target: Peer, user: bytes, source: str = "127.0.0.1", host: str = "127.0.0.1") -> Wire:
    wire = Wire(daemon.port, source=source)
    wire.send(socks4(host, target.port, user))
    assert read_reply4(wire).code == 90
    return wire


def refused(daemon: Sockd, target: Peer) -> None:
    with Wire(daemon.port) as wire:
        wire.send(socks4("127.0.0.9", target.port))
        assert read_reply4(wire).code == 91


def say(wire: Wire, count: int) -> None:
    """So many bytes there and back."""
    wire.send(b"x" * count)
    assert len(wire.read(count)) == count


def client_of(wire: Wire) -> str:
    return "{}:{}".format(*wire.name)


def listed(daemon: Sockd, **wanted: Any) -> list[dict[str, Any]]:
    """The sessions that a filter selects; checks that as many are said to match."""
    rows, done = daemon.control(Sessions(Filter(**wanted)))
    assert len(rows) == done["matched"]
    return rows


def clients(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["client"] for row in rows]


# --- listing and ending --------------------------------------------------------------------------------------------


def crowd_of(daemon: Sockd, target: Peer, stack: ExitStack) -> list[Wire]:
    """Twenty-four: by user, source, destination and line, each with bytes of its own, the oldest first."""
    wires = []
    for number in range(24):
        user = b"fred" if number % 2 else b"mary"
        source = "127.0.0.2" if number % 3 == 0 else "127.0.0.1"
        host = "127.0.0.5" if number % 4 == 0 else "127.0.0.6"
        wires.append(stack.enter_context(opened(daemon, target, user, source, host)))
        say(wires[-1], 10 * (number + 1))
    return wires


def test_sessions_are_listed_by_filter_sorted_and_limited(daemon: Sockd, target: Peer) -> None:
    with ExitStack() as stack:
        wires = crowd_of(daemon, target, stack)
        names = list(map(client_of, wires))
        rows, done = daemon.control(Sessions())
        assert (sorted(clients(rows)), done["matched"]) == (sorted(names), 24)
        ages = [row["seconds"] for row in rows]
        assert ages == sorted(ages, reverse=True), "the oldest first"
        for worker in (1, 2):
            # Two workers look at their clocks one after the other; of one, the order is exact.
            own = [row["client"] for row in rows if row["worker"] == worker]
            assert own == sorted(own, key=names.index)
        by_bytes, _ = daemon.control(Sessions(sort="bytes"))
        assert clients(by_bytes) == names[::-1]
        assert [row["sent"] for row in by_bytes] == [row["received"] for row in by_bytes] == [*range(240, 0, -10)]
        few, done = daemon.control(Sessions(sort="bytes", limit=5))
        assert (clients(few), done["matched"]) == (names[:-6:-1], 24)
        assert {row["worker"] for row in rows} == {1, 2}
        assert {row["state"] for row in rows} == {"relaying"}
        cases: tuple[tuple[dict[str, str], list[str]], ...] = (
            ({"user": "fred"}, names[1::2]),
            ({"source": "127.0.0.2"}, names[::3]),
            ({"source": "127.0.0.0/30"}, names),
            ({"destination": "127.0.0.5"}, names[::4]),
            ({"destination": f"127.0.0.5:{target.port}"}, names[::4]),
            ({"destination": ":1"}, []),
            ({"rule": SECOND}, names[::3]),
            ({"rule": "4"}, [name for number, name in enumerate(names) if number % 3]),
            ({"user": "mary", "source": "127.0.0.2", "destination": "127.0.0.5"}, names[::12]),
            ({"session": rows[7]["session"]}, [rows[7]["client"]]),
            ({"egress": "127.0.0.1"}, names),
            ({"user": "nobody-at-all"}, []),
        )
        for wanted, expected in cases:
            assert sorted(clients(listed(daemon, **wanted))) == sorted(expected), wanted


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(Sessions(sort="name"), id="an unknown order"),
        pytest.param(Sessions(limit=0), id="a limit of 0"),
        pytest.param(Sessions(Filter(source="10.0.0")), id="half an address"),
        pytest.param(Kill(Filter()), id="nobody in particular is to be ended"),
        pytest.param(Kill(Filter(destination=":99999")), id="a port that is none"),
    ],
)
def test_what_can_not_be_meant_is_refused_and_ends_nobody(daemon: Sockd, target: Peer, request_: Any) -> None:
    with opened(daemon, target, b"fred") as wire:
        with pytest.raises(ControlError):
            daemon.control(request_)
        say(wire, 5)


@pytest.mark.parametrize("by", ["session", "user", "rule", "source"])
def test_exactly_the_sessions_that_are_meant_are_ended(daemon: Sockd, target: Peer, by: str) -> None:
    with ExitStack() as stack:
        wires = crowd_of(daemon, target, stack)
        (row,) = [row for row in listed(daemon) if row["client"] == client_of(wires[7])]
        wanted = {"session": row["session"], "user": "fred", "rule": SECOND, "source": "127.0.0.2"}[by]
        meant = {"session": [7], "user": range(1, 24, 2), "rule": range(0, 24, 3), "source": range(0, 24, 3)}[by]
        _, done = daemon.control(Kill(Filter(**{by: wanted})))
        assert done == {"killed": len(meant)}
        for number, wire in enumerate(wires):
            if number in meant:
                assert wire.end_of_peer() in ("fin", "reset")
            else:
                say(wire, 3)
        ended = {client_of(wires[number]) for number in meant}
        assert eventually(lambda: {row["client"] for row in daemon.records()} == ended)
        assert {row["end"] for row in daemon.records()} == {"ended by the operator"}
        assert len(listed(daemon)) == 24 - len(meant)


# --- numbers -------------------------------------------------------------------------------------------------------


def uses(daemon: Sockd) -> dict[str, tuple[int, int, int]]:
    rows, _ = daemon.control(Rules())
    return {row["rule"]: (row["hits"], row["sent"], row["received"]) for row in rows}


def test_hits_and_bytes_of_each_line_are_what_was_sent_also_of_live_sessions_and_after_a_reload(
    daemon: Sockd, target: Peer
) -> None:
    with ExitStack() as stack:
        crowd_of(daemon, target, stack)
        for _ in range(3):
            refused(daemon, target)
        second = sum(10 * (number + 1) for number in range(0, 24, 3))
        total = sum(range(10, 250, 10))
        wanted = {SECOND: (8, second, second), DENIAL: (3, 0, 0), FOURTH: (16, total - second, total - second)}
        assert eventually(lambda: uses(daemon) == wanted | {"": (0, 0, 0)}), uses(daemon)
        # The lines move by one, and keep what is theirs.
        (daemon.folder / "sockd.conf").write_text("# and one more\n" + RULES)
        daemon.control(Reload())
        moved = {"sockd.conf:3": wanted[SECOND], "sockd.conf:4": wanted[DENIAL], "sockd.conf:5": wanted[FOURTH]}
        assert uses(daemon) == moved | {"": (0, 0, 0)}
    assert eventually(lambda: len(daemon.records()) == 27)
    assert eventually(lambda: uses(daemon) == moved | {"": (0, 0, 0)}), "nothing is counted twice at the end"
    totals = daemon.control(Status())[1]["totals"]
    assert eventually(lambda: daemon.control(Status())[1]["totals"]["sessions"] == 0)
    assert (totals["sent"], totals["received"], totals["refused"]) == (total, total, 3)
    text = daemon.control(Metrics())[1]["text"]
    assert f" {total}" in text or f" {float(total)}" in text


def test_a_worker_that_was_killed_leaves_its_numbers(daemon: Sockd, target: Peer) -> None:
    with ExitStack() as stack:
        crowd_of(daemon, target, stack)
        total = sum(range(10, 250, 10))
        assert eventually(lambda: daemon.control(Status())[1]["totals"]["sent"] == total)
        before = daemon.workers
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: len(set(daemon.workers) - set(before)) == 2)
        with opened(daemon, target, b"fred") as wire:
            say(wire, 7)
            assert eventually(lambda: daemon.control(Status())[1]["totals"]["sent"] == total + 7)
            assert daemon.control(Status())[1]["totals"]["accepted"] == 25


# --- looking on ----------------------------------------------------------------------------------------------------


def serve(daemon: Sockd, target: Peer, user: bytes, count: int = 5) -> str:
    with opened(daemon, target, user) as wire:
        say(wire, count)
        return client_of(wire)


def test_each_record_is_seen_once_by_each_who_looks_on_as_far_as_he_asked_for_it(daemon: Sockd, target: Peer) -> None:
    with (
        Lookout(daemon.folder) as all_of_it,
        Lookout(daemon.folder, Filter(user="fred")) as freds,
        Lookout(daemon.folder, Filter(rule=DENIAL)) as refusals,
    ):
        assert all_of_it.is_on(lambda: serve(daemon, target, b"mary"))
        assert freds.is_on(lambda: serve(daemon, target, b"fred"))
        assert refusals.is_on(lambda: refused(daemon, target))
        for lookout in (all_of_it, freds, refusals):
            lookout.settle()
        first = len(daemon.records())
        before = [len(lookout.rows) for lookout in (all_of_it, freds, refusals)]
        for number in range(40):
            serve(daemon, target, b"fred" if number % 4 else b"mary")
        refused(daemon, target)
        assert eventually(lambda: len(daemon.records()) == first + 41)
        new = daemon.records()[first:]

        def seen(lookout: Lookout, place: int) -> list[str]:
            return sorted(row["session"] for row in lookout.rows[before[place] :])

        assert eventually(lambda: seen(all_of_it, 0) == sorted(row["session"] for row in new))
        assert eventually(lambda: seen(freds, 1) == sorted(row["session"] for row in new if row["user"] == "fred"))
        assert eventually(lambda: seen(refusals, 2) == [row["session"] for row in new if row["result"] == "refused"])
        assert sorted(all_of_it.rows[before[0] :], key=str) == sorted(new, key=str), "they are the log's own records"


def test_who_looks_on_sees_the_sessions_of_a_worker_that_was_started_meanwhile(daemon: Sockd, target: Peer) -> None:
    with Lookout(daemon.folder) as lookout:
        assert lookout.is_on(lambda: serve(daemon, target, b"mary"))
        before = daemon.workers
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: len(set(daemon.workers) - set(before)) == 2)
        served = {serve(daemon, target, b"new") for _ in range(12)}
        assert eventually(lambda: {row["client"] for row in lookout.rows if row["user"] == "new"} == served)


def test_several_operators_ask_at_once_and_each_has_his_own_answer(daemon: Sockd, target: Peer) -> None:
    faults: list[str] = []

    def ask(number: int) -> None:
        try:
            with ControlClient.connect(str(daemon.folder / "control.sock")) as client:
                for _ in range(20):
                    user = ("fred", "mary")[number % 2]
                    rows, done = client.ask(Sessions(Filter(user=user)))
                    if {row["user"] for row in rows} != {user} or done["matched"] != 12:
                        faults.append(f"{user}: {rows}")
                    client.ask(Status())
                    if number == 0:
                        client.ask(Reload())
        except ControlError as error:
            faults.append(str(error))

    with ExitStack() as stack:
        crowd_of(daemon, target, stack)
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


# --- who may ask ---------------------------------------------------------------------------------------------------

GROUP = "adm"
NOBODY = 65534


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that everybody may pass through; those of pytest are their owner's alone."""
    with tempfile.TemporaryDirectory(prefix="sockd-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def become(user: int, groups: Sequence[int]) -> None:
    os.setgroups(list(groups))
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def asking(path: str, user: int, groups: Sequence[int]) -> str:
    """What a process of that user and these groups hears."""

    def ask() -> str:
        become(user, groups)
        try:
            with ControlClient.connect(path) as client:
                return str(client.ask(Status())[1]["pid"])
        except ControlError as error:
            return f"refused: {error}"

    answer: str = forked(ask)
    return answer


@needs_root
def test_root_and_the_group_may_ask_and_nobody_else(reachable: Path) -> None:
    group = grp.getgrnam(GROUP).gr_gid
    with sockd(reachable, settings={"control": {"group": GROUP}}) as daemon:
        path = str(reachable / "control.sock")
        found = os.stat(path)
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group)
        assert asking(path, 12345, [group]) == str(daemon.pid)
        assert asking(path, 0, []) == str(daemon.pid)
        assert asking(path, 12345, []).startswith("refused: ")
        assert asking(path, NOBODY, []).startswith("refused: "), "not even who the workers are"


@needs_root
def test_without_a_group_only_root_may_ask_also_if_the_file_lets_others_in(reachable: Path) -> None:
    """The peer's credentials count, not only the permissions of a file, which somebody may change."""
    group = grp.getgrnam(GROUP).gr_gid
    with sockd(reachable) as daemon:
        path = str(reachable / "control.sock")
        os.chmod(path, 0o666)
        assert asking(path, 0, []) == str(daemon.pid)
        for user, groups in ((12345, [group]), (NOBODY, []), (12345, [])):
            answer = asking(path, user, groups)
            assert f"user {user} may not ask this sockd: that takes root" in answer
        daemon.wait_log("control socket: process .* of user 12345 was refused: that takes root")


@needs_root
def test_a_worker_that_was_taken_over_can_not_ask(reachable: Path) -> None:
    """It is of the account's user; the socket does not let that one in when root started the daemon."""
    with sockd(reachable, settings={"sockd": {"user": "nobody"}}) as daemon:
        path = str(reachable / "control.sock")
        os.chmod(path, 0o666)
        assert "may not ask" in asking(path, NOBODY, [])
        assert daemon.control(Status())[1]["pid"] == daemon.pid


# --- logs that are moved away --------------------------------------------------------------------------------------


def test_nothing_is_lost_between_two_files_when_both_logs_are_moved_again_and_again(daemon: Sockd) -> None:
    """Every session that was served has its record and its lines, once, in one of the files."""
    with Crowd(daemon.port, 10, pace=0.05) as crowd:
        for turn in range(6):
            for name in ("sockd.log", "sockd.json"):
                (daemon.folder / name).rename(daemon.folder / f"{name}.{turn}")
            os.kill(daemon.pid, signal.SIGUSR1)
            assert eventually(
                lambda: (daemon.folder / "sockd.log").exists() and (daemon.folder / "sockd.json").exists()
            )
            daemon.wait_log("logs are opened anew")
            for _ in range(3):
                assert crowd.newcomer_served()
    assert crowd.faults == []
    served = crowd.served + 10

    def written(name: str) -> str:
        return "".join(path.read_text() for path in sorted(daemon.folder.glob(f"{name}*")))

    assert eventually(lambda: written("sockd.json").count('"result":"connected"') == served), (
        written("sockd.json").count('"result":"connected"'),
        served,
    )

    def lines() -> int:
        """Two of each session; those that repeat are folded."""
        text = written("sockd.log")
        folded = sum(map(int, re.findall(r"last line repeated (\d+) times?", text)))
        return text.count("connected -- ") + text.count("terminated -- ") + folded

    assert eventually(lambda: lines() == 2 * served), (lines(), served)
    sessions = [line.partition('"session":"')[2].partition('"')[0] for line in written("sockd.json").splitlines()]
    assert len(sessions) == len(set(sessions)) == served
    assert (daemon.folder / "sockd.log").stat().st_size
    # The old files are let go.
    held = [os.readlink(link) for pid in daemon.workers for link in Path(f"/proc/{pid}/fd").iterdir()]
    assert not [path for path in held if ".log." in path or ".json." in path]


def test_the_socket_is_gone_or_dead_after_the_end(tmp_path: Path) -> None:
    with sockd(tmp_path):
        pass
    started = time.monotonic()
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        sock.connect(str(tmp_path / "control.sock"))
    with pytest.raises(ControlError, match="is it running"):
        ControlClient.connect(str(tmp_path / "control.sock"))
    assert time.monotonic() - started < 5
    with sockd(tmp_path, LOOPBACK) as again:
        assert again.control(Status())[1]["pid"] == again.pid
