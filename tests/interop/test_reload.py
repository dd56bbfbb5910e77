"""Files that change while the daemon runs: who is connected stays, who asks next meets the new rules.

A reload is asked for by SIGHUP or by the control socket. What it refuses it says there and in the log, and all is as it
was before.
"""

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.control.protocol import ControlError, Reload, Status
from tests.support import proc
from tests.support.crowd import Crowd
from tests.support.daemon import LOOPBACK, Sockd, Toml, password_entry, sockd, write_files
from tests.support.peers import Peer, closed_port, echo
from tests.support.rawsocks import Reply5, Wire, connect5
from tests.support.waiting import eventually

NOT_ALLOWED = 2
GROWTH_KIB = 4096
"""That a process may grow by through reloads: what the interpreter's memory varies by, not what a leak costs."""


def ask(port: int, host: str, target: Peer) -> int:
    with Wire(port) as wire:
        return connect5(wire, host, target.port).code


def log_in(port: int, target: Peer, user: bytes, secret: bytes) -> int:
    with Wire(port) as wire:
        return connect5(wire, target.host, target.port, user, secret).code


def echoes(wire: Wire) -> bool:
    try:
        wire.send(b"ping")
        return wire.read(4) == b"ping"
    except OSError:
        return False


def by_signal(daemon: Sockd) -> None:
    """SIGHUP, until the log says that it was done."""
    before = daemon.log().count("reloaded -- ")
    os.kill(daemon.pid, signal.SIGHUP)
    assert eventually(lambda: daemon.log().count("reloaded -- ") > before, within=30), daemon.log()[-2000:]


def by_socket(daemon: Sockd) -> None:
    daemon.control(Reload())


HOW = [pytest.param(by_signal, id="by SIGHUP"), pytest.param(by_socket, id="by the control socket")]
SPECIAL = "127.0.0.9"


def rules_of(turn: int) -> str:
    """Other lines, in another order, at every turn; one of them denies 127.0.0.9 at every second one."""
    more = [f"deny 10.{turn % 200}.{line}.0/24 127.0.0.0/8\n" for line in range(turn % 7)]
    denial = [f"deny 127.0.0.0/8 {SPECIAL}/32\n"] if turn % 2 else []
    return "".join((*more[::2], *denial, *more[1::2], LOOPBACK, *reversed(more)))


def memory(daemon: Sockd) -> dict[int, int]:
    """KiB of each worker."""
    return {pid: _anonymous(pid) for pid in daemon.workers}


def _anonymous(pid: int) -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def change_and_look(daemon: Sockd, turn: int, special: Peer) -> None:
    """Other files, a reload one way or the other, and the next requests."""
    secret = f"word{turn // 10}"
    (daemon.folder / "sockd.conf").write_text(rules_of(turn))
    if turn % 10 == 0:
        (daemon.folder / "passwords").write_text(password_entry("fred", secret))
    (by_signal if turn % 2 else by_socket)(daemon)
    wanted = NOT_ALLOWED if turn % 2 else 0
    assert [ask(daemon.port, SPECIAL, special) for _ in range(4)] == [wanted] * 4, f"after reload {turn}"
    if turn % 10 == 0:
        assert log_in(daemon.port, special, b"fred", b"an old one") == -1
        assert log_in(daemon.port, special, b"fred", secret.encode()) == (NOT_ALLOWED if turn % 2 else 0)


def warm_up(daemon: Sockd, target: Peer) -> None:
    """Have every worker check a password: the memory of that, 16 MiB, is kept for the next one."""
    with Crowd(daemon.port, 20, pace=0.1) as crowd:
        assert crowd.newcomer_served()
    assert crowd.faults == []
    for turn in range(16):
        assert log_in(daemon.port, target, b"fred", b"wrong %d" % turn) == -1
    daemon.sockets_at_rest()


SESSIONS, RELOADS, FIRST = 1000, 200, 10


def test_reloads_cost_no_session_no_connect_no_byte_and_no_memory(tmp_path: Path) -> None:
    with sockd(tmp_path, rules_of(0), passwords={"fred": "first"}, workers=2) as daemon, Peer(echo, SPECIAL) as special:
        warm_up(daemon, special)
        at_rest = proc.descriptors(daemon.pid)
        with Crowd(daemon.port, SESSIONS, pace=SESSIONS / 400) as crowd:
            for turn in range(FIRST):
                change_and_look(daemon, turn, special)
            before = memory(daemon)
            for turn in range(FIRST, RELOADS):
                change_and_look(daemon, turn, special)
                assert not crowd.faults
            assert crowd.goes_on()
            assert crowd.newcomer_served()
            after = memory(daemon)
        assert crowd.faults == []
        assert len(crowd.rounds) == SESSIONS
        assert daemon.log().count("reloaded -- ") == RELOADS
        assert before.keys() == after.keys(), "a worker was replaced"
        assert all(after[pid] - before[pid] < GROWTH_KIB for pid in before), (before, after)

        def are_back() -> bool:
            now = proc.descriptors(daemon.pid)
            return all(now[kind] <= at_rest[kind] for kind in ("socket", "anon_inode", "file", "/memfd"))

        assert eventually(are_back), (at_rest, proc.descriptors(daemon.pid))


# --- what is refused -----------------------------------------------------------------------------------------------


def break_rules(folder: Path) -> str:
    (folder / "sockd.conf").write_text(f"{LOOPBACK}permit nonsense\n")
    return rf"{folder}/sockd\.conf:2:"


def break_settings(folder: Path) -> str:
    with (folder / "gateway.toml").open("a") as file:
        file.write("[nonsense]\nkey = 1\n")
    return rf"{folder}/gateway\.toml:\d+:"


def remove_rules(folder: Path) -> str:
    (folder / "sockd.conf").unlink()
    return rf"{folder}/sockd\.conf: cannot read: No such file"


def open_passwords(folder: Path) -> str:
    (folder / "passwords").chmod(0o644)
    return rf"{folder}/passwords: mode 0644 lets others"


def break_passwords(folder: Path) -> str:
    with (folder / "passwords").open("a") as file:
        file.write("eve:plain\n")
    return rf"{folder}/passwords:2"


BREAKS: tuple[tuple[str, Callable[[Path], str]], ...] = (
    ("rules that can not be understood", break_rules),
    ("settings that can not be understood", break_settings),
    ("rules that are gone", remove_rules),
    ("passwords that all may read", open_passwords),
    ("passwords that can not be understood", break_passwords),
)


@pytest.mark.parametrize("break_it", [pytest.param(one, id=title) for title, one in BREAKS])
def test_a_broken_file_changes_nothing_and_is_named_in_the_answer_and_in_the_log(
    tmp_path: Path, break_it: Callable[[Path], str]
) -> None:
    with (
        sockd(tmp_path, passwords={"fred": "sesame"}, workers=2) as daemon,
        Peer(echo) as target,
        Wire(daemon.port) as live,
    ):
        assert connect5(live, "127.0.0.1", target.port).code == 0
        _, before = daemon.control(Status())
        wanted = break_it(tmp_path)
        with pytest.raises(ControlError, match=wanted):
            daemon.control(Reload())
        daemon.wait_log(rf"reload refused: .*{wanted}")
        refused = daemon.log().count("reload refused")
        os.kill(daemon.pid, signal.SIGHUP)
        assert eventually(lambda: daemon.log().count("reload refused") > refused or "repeated" in daemon.log())
        _, after = daemon.control(Status())
        assert (after["configuration"], after["loaded"]) == (before["configuration"], before["loaded"])
        assert any("the last reload was refused" in line for line in after["troubles"])
        assert echoes(live)
        assert all(log_in(daemon.port, target, b"fred", b"sesame") == 0 for _ in range(4))
        assert ask(daemon.port, "192.0.2.1", target) == NOT_ALLOWED
        write_files(tmp_path, LOOPBACK, {"fred": "sesame"}, workers=2)
        daemon.control(Reload())
        assert not daemon.control(Status())[1]["troubles"]


def test_every_mistake_of_all_files_is_in_the_answer(tmp_path: Path) -> None:
    with sockd(tmp_path, passwords={"fred": "sesame"}) as daemon:
        wanted = [break_rules(tmp_path), break_passwords(tmp_path)]
        with pytest.raises(ControlError) as caught:
            daemon.control(Reload())
        assert all(re.search(pattern, str(caught.value)) for pattern in wanted)


# --- where it listens ----------------------------------------------------------------------------------------------


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        Wire(port, host=host, timeout=2).socket.close()
    except ConnectionRefusedError:
        return False
    return True


def rewrite(daemon: Sockd, internal: dict[str, object], rules: str = LOOPBACK) -> None:
    write_files(daemon.folder, rules, workers=2, settings={"internal": internal})


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sockd]:
    with closed_port() as port:
        pass
    settings: Toml = {"internal": {"port": port}}
    with sockd(tmp_path, workers=2, settings=settings) as running:
        yield running


@pytest.mark.parametrize("reload", HOW)
def test_another_port_is_listened_on_and_the_old_one_is_not(daemon: Sockd, reload: Callable[[Sockd], None]) -> None:
    with Peer(echo) as target, closed_port() as free, Wire(daemon.port) as live:
        assert connect5(live, "127.0.0.1", target.port).code == 0
        old = daemon.port
        with socket.socket() as probe:  # one that the holder of ``free`` does not stand in the way of
            probe.bind(("127.0.0.1", 0))
            new = probe.getsockname()[1]
        assert new != free
        rewrite(daemon, {"port": new})
        reload(daemon)
        assert all(ask(new, "127.0.0.1", target) == 0 for _ in range(4))
        assert eventually(lambda: not listens(old))
        assert echoes(live)
        _, report = daemon.control(Status())
        assert report["listening"] == [f"127.0.0.1:{new}"]
        # A second time, and back to where it was.
        rewrite(daemon, {"port": old})
        reload(daemon)
        assert ask(old, "127.0.0.1", target) == 0
        assert eventually(lambda: not listens(new))
        assert echoes(live)


@pytest.mark.parametrize("reload", HOW)
def test_addresses_come_and_go(daemon: Sockd, reload: Callable[[Sockd], None]) -> None:
    with Peer(echo) as target, Wire(daemon.port) as live:
        assert connect5(live, "127.0.0.1", target.port).code == 0
        for added, left in (("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")):
            rewrite(daemon, {"port": daemon.port, "addresses": ["127.0.0.1", "127.0.0.2"]})
            reload(daemon)
            assert listens(daemon.port, added)
            assert listens(daemon.port, left)
            rewrite(daemon, {"port": daemon.port, "addresses": [added]})
            reload(daemon)
            assert eventually(lambda gone=left: not listens(daemon.port, gone))  # type: ignore[misc]
            assert listens(daemon.port, added)
            assert echoes(live)


def test_clients_that_come_while_the_port_stays_are_never_turned_away(daemon: Sockd) -> None:
    """Another address beside it comes and goes, again and again."""
    with Crowd(daemon.port, 20, pace=0.05) as crowd:
        for turn in range(10):
            addresses = ["127.0.0.1", "127.0.0.2"][: 1 + turn % 2]
            rewrite(daemon, {"port": daemon.port, "addresses": addresses}, rules_of(turn))
            by_socket(daemon)
        assert crowd.newcomer_served()
    assert crowd.faults == []


@pytest.mark.parametrize("what", ["port", "address"])
def test_where_somebody_else_listens_already_is_refused_and_changes_nothing(daemon: Sockd, what: str) -> None:
    with Peer(echo) as target, socket.create_server(("127.0.0.2", daemon.port if what == "address" else 0)) as other:
        taken = other.getsockname()[1]
        rewrite(daemon, {"port": taken, "addresses": ["127.0.0.1", "127.0.0.2"]}, "permit ALL 192.0.2.0/24\n")
        words = rf"cannot listen on 127\.0\.0\.2:{taken}: Address already in use"
        with pytest.raises(ControlError, match=words):
            daemon.control(Reload())
        daemon.wait_log(f"reload refused: {words}")
        assert all(ask(daemon.port, "127.0.0.1", target) == 0 for _ in range(4))
        _, report = daemon.control(Status())
        assert report["listening"] == [f"127.0.0.1:{daemon.port}"]
        other.close()
        daemon.control(Reload())
        assert ask(taken, "127.0.0.1", target) == NOT_ALLOWED


def test_an_address_gives_way_to_all_addresses_and_back(daemon: Sockd) -> None:
    """The port is held by what was there before, until the workers have heard of it."""
    with Peer(echo) as target, Wire(daemon.port) as live:
        assert connect5(live, "127.0.0.1", target.port).code == 0
        for address in ("0.0.0.0", "127.0.0.1"):
            rewrite(daemon, {"port": daemon.port, "addresses": [address]})
            by_socket(daemon)
            _, report = daemon.control(Status())
            assert report["listening"] == [f"{address}:{daemon.port}"]
            assert not report["troubles"]
            assert eventually(lambda wanted=address == "0.0.0.0": listens(daemon.port, "127.0.0.3") == wanted)  # type: ignore[misc]
            assert all(ask(daemon.port, "127.0.0.1", target) == 0 for _ in range(4))
            assert echoes(live)


def test_settings_that_a_running_daemon_can_not_change_are_said(daemon: Sockd) -> None:
    write_files(daemon.folder, LOOPBACK, workers=1, settings={"internal": {"port": daemon.port}})
    _, done = daemon.control(Reload())
    assert done["notes"] == ["[sockd] workers counts from the next start of sockd on"]
    daemon.wait_log(r"\[sockd\] workers counts from the next start")
    assert len(daemon.workers) == 2


# --- live sessions and new rules -----------------------------------------------------------------------------------


def opened(daemon: Sockd, host: str, port: int) -> Wire:
    wire = Wire(daemon.port)
    reply: Reply5 = connect5(wire, host, port)
    assert reply.code == 0
    return wire


def test_recheck_ends_exactly_the_sessions_that_are_now_denied(tmp_path: Path) -> None:
    hosts = [f"127.0.0.{number}" for number in (1, 1, 5, 6, 7)] * 2
    rules = "deny 127.0.0.0/8 127.0.0.5/32\ndeny 127.0.0.0/8 127.0.0.6/32\n" + LOOPBACK
    with sockd(tmp_path, workers=2) as daemon, Peer(echo, "0.0.0.0") as target:
        wires = [opened(daemon, host, target.port) for host in hosts]
        try:
            (tmp_path / "sockd.conf").write_text(rules)
            assert daemon.control(Reload())[1]["ended"] == 0
            assert all(map(echoes, wires)), "without recheck nobody is touched"
            _, done = daemon.control(Reload(recheck=True))
            assert done["ended"] == 4
            for host, wire in zip(hosts, wires, strict=True):
                if host in ("127.0.0.5", "127.0.0.6"):
                    assert wire.end_of_peer() in ("fin", "reset")
                else:
                    assert echoes(wire)
        finally:
            for wire in wires:
                wire.socket.close()

        def told() -> list[str]:
            return [record["address"] for record in daemon.records() if "no longer permitted" in record["end"]]

        assert eventually(lambda: sorted(told()) == ["127.0.0.5"] * 2 + ["127.0.0.6"] * 2), daemon.records()


def test_a_worker_that_starts_during_reloads_does_not_go_on_with_old_rules(tmp_path: Path) -> None:
    """It is born with the rules of that moment, and not ready when the next ones come."""
    with sockd(tmp_path, workers=2) as daemon, Peer(echo, SPECIAL) as special:
        for turn in range(1, 8):
            os.kill(daemon.workers[0], signal.SIGKILL)
            assert eventually(lambda: len(daemon.workers) < 2)
            assert eventually(lambda: len(daemon.workers) == 2, every=0.001)
            (tmp_path / "sockd.conf").write_text(rules_of(turn))
            by_socket(daemon)
            assert eventually(lambda: all(row["pid"] for row in daemon.control(Status())[1]["processes"]))
            wanted = NOT_ALLOWED if turn % 2 else 0
            assert {ask(daemon.port, SPECIAL, special) for _ in range(12)} == {wanted}
            if turn == 3:
                break  # each death makes the next start later


def test_what_a_client_is_asked_between_greeting_and_request_is_of_the_new_files(tmp_path: Path) -> None:
    with (
        sockd(tmp_path, passwords={"fred": "old"}) as daemon,
        Peer(echo, SPECIAL) as special,
        Wire(daemon.port) as wire,
    ):
        wire.send(b"\x05\x01\x00")
        assert wire.read(2) == b"\x05\x00"
        (tmp_path / "sockd.conf").write_text(rules_of(1))
        by_socket(daemon)
        wire.send(b"\x05\x01\x00\x01" + socket.inet_aton(SPECIAL) + special.port.to_bytes(2, "big"))
        assert wire.read(2) == bytes([5, NOT_ALLOWED])


def test_the_hash_of_the_files_changes_with_any_of_them_and_only_then(tmp_path: Path) -> None:
    with sockd(tmp_path, passwords={"fred": "old"}) as daemon:
        digests = [daemon.control(Status())[1]["configuration"]]
        (tmp_path / "sockd.conf").write_text(LOOPBACK + "# another\n")
        digests.append(daemon.control(Reload())[1]["configuration"])
        (tmp_path / "passwords").write_text(password_entry("fred", "new"))
        digests.append(daemon.control(Reload())[1]["configuration"])
        assert len(set(digests)) == 3
        _, same = daemon.control(Reload())
        assert (same["configuration"], same["changed"]) == (digests[-1], False)
        assert daemon.control(Status())[1]["configuration"] == digests[-1]
