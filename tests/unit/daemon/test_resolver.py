"""The real daemon with zones: names for clients and for its own sessions, other files, deaths, and the end."""

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from gateway.control.client import ControlClient
from gateway.control.protocol import (
    CacheDump,
    CacheFlush,
    ControlError,
    Metrics,
    Reload,
    Request,
    Resolve,
    Status,
)
from tests.support import proc
from tests.support.daemon import LOOPBACK, Sockd, sockd, write_files
from tests.support.lyingserver import LyingServer
from tests.support.peers import Peer
from tests.support.rawsocks import Wire, read_reply4, socks4a
from tests.support.waiting import eventually

INSIDE = {
    "www.corp.example": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
    "mail.corp.example": {"MX": ["10 www.corp.example."]},
    "away.corp.example": {"CNAME": ["www.outside.example."]},
}
OUTSIDE = {"www.outside.example": {"A": ["192.0.2.80"]}}


@pytest.fixture
def inside() -> Iterator[LyingServer]:
    """Of the zone corp.example."""
    with LyingServer(INSIDE, apexes=("corp.example",)) as server:
        yield server


@pytest.fixture
def outside() -> Iterator[LyingServer]:
    """Of everything else."""
    with LyingServer(OUTSIDE) as server:
        yield server


def zone(name: str, server: LyingServer | None, **keys: object) -> Mapping[str, object]:
    """A table of the settings."""
    servers = [] if server is None else [f"127.0.0.1 {server.port}"]
    return {"name": name, "servers": servers, **keys}


def corp(server: LyingServer, **keys: object) -> Mapping[str, object]:
    return zone("corp.example", server, private=True, **keys)


Zones = Sequence[Mapping[str, object]]


def with_names(zones: Zones, *, port: object = 0, **keys: object) -> dict[str, dict[str, object]]:
    """The settings of a resolver."""
    table: dict[str, object] = {"addresses": ["127.0.0.1"], "port": port, "zone": list(zones), **keys}
    return {"resolver": table}


@contextlib.contextmanager
def resolver(folder: Path, zones: Zones, *, workers: int = 1, **keys: object) -> Iterator[Sockd]:
    """A daemon with these zones."""
    with sockd(folder, workers=workers, settings=with_names(zones, **keys)) as daemon:
        yield daemon


def reload(daemon: Sockd, settings: dict[str, dict[str, object]]) -> Any:
    """Other files rule; what was said of it."""
    write_files(daemon.folder, LOOPBACK, settings=settings)
    return daemon.control(Reload())[1]


def status(daemon: Sockd) -> Any:
    return daemon.control(Status())[1]


def doors(daemon: Sockd) -> list[tuple[str, int]]:
    """Where names are asked for."""
    pairs = (endpoint.rpartition(":") for endpoint in status(daemon)["listening_dns"])
    return [(host, int(port)) for host, _, port in pairs]


def ask(daemon: Sockd, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    """What a client is answered; asked anew, as stubs do, when nothing comes."""
    ((host, port),) = doors(daemon)
    return ask_at(host, port, name, kind, tcp=tcp)


def ask_at(host: str, port: int, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0)
    way = dns.query.tcp if tcp else dns.query.udp
    for _ in range(9):
        with contextlib.suppress(dns.exception.Timeout):
            return way(query, host, timeout=1.0, port=port)
    raise AssertionError(f"no answer for {name}")


def lines(message: dns.message.Message) -> list[str]:
    """Owner, type and data."""
    return [f"{one.name} {dns.rdatatype.to_text(one.rdtype)} {data}" for one in message.answer for data in one]


def why(message: dns.message.Message) -> str:
    """The words of the extended error."""
    (option,) = message.options
    assert isinstance(option, dns.edns.EDEOption)
    return option.text or ""


def resolve(daemon: Sockd, name: str, **keys: str) -> Any:
    return daemon.control(Resolve(name, **keys))[1]


def children(daemon: Sockd, name: str) -> list[int]:
    """The processes of that kind."""
    return [pid for pid in proc.tree(daemon.pid) if proc.name(pid).startswith(f"sockd: {name}")]


def titles(daemon: Sockd) -> str:
    """What ps(1) shows of all its processes."""
    return proc.public_bytes(daemon.pid).decode(errors="replace")


# Answers


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_each_zone_answers_its_names_and_nobody_else_is_asked(
    tmp_path: Path, inside: LyingServer, outside: LyingServer, tcp: bool
) -> None:
    with resolver(tmp_path, [corp(inside), zone(".", outside)]) as daemon:
        assert lines(ask(daemon, "www.corp.example", tcp=tcp)) == ["www.corp.example. A 127.0.0.1"]
        assert lines(ask(daemon, "WWW.Corp.Example", tcp=tcp)) == ["WWW.Corp.Example. A 127.0.0.1"]
        assert lines(ask(daemon, "www.outside.example", tcp=tcp)) == ["www.outside.example. A 192.0.2.80"]
        assert ask(daemon, "no.corp.example", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
        assert lines(ask(daemon, "away.corp.example", tcp=tcp)) == [
            "away.corp.example. CNAME www.outside.example.",
            "www.outside.example. A 192.0.2.80",
        ]
        assert {one.name for one in outside.heard()} == {"www.outside.example"}
        assert len(inside.heard("www.corp.example")) == 1


def test_both_protocols_have_the_same_port(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        ((host, port),) = doors(daemon)
        assert port
        with socket.create_connection((host, port)):
            pass
        assert re.search(rf"; names on {host}:{port}, 1 zones$", daemon.stderr(), re.MULTILINE)


def test_a_zone_without_living_servers_fails_with_the_reason_until_one_is_back_and_nobody_else_hears_of_it(
    tmp_path: Path, outside: LyingServer
) -> None:
    inside = LyingServer(INSIDE, apexes=("corp.example",))
    with inside:
        pass  # which gives it a port
    with resolver(tmp_path, [corp(inside), zone(".", outside)]) as daemon:
        for name in ("a", "b", "c", "www"):
            message = ask(daemon, f"{name}.corp.example")
            assert message.rcode() == dns.rcode.SERVFAIL
            assert f"zone corp.example: 127.0.0.1:{inside.port}" in why(message)
        daemon.wait_log(f"zone corp.example: name server 127.0.0.1:{inside.port} is down: Connection refused")
        assert eventually(lambda: status(daemon)["zones"][0]["servers"][0]["state"] == "down")
        down = f"zone corp.example: name server 127.0.0.1:{inside.port} is down: Connection refused"
        assert status(daemon)["troubles"] == [down]
        assert eventually(lambda: f"names, down: 127.0.0.1:{inside.port}\0" in titles(daemon))
        with inside:
            assert eventually(lambda: lines(ask(daemon, "www.corp.example")))
            daemon.wait_log(f"zone corp.example: name server 127.0.0.1:{inside.port} is up")
        assert outside.heard() == []


# Operators


def test_how_a_name_is_resolved_is_told_with_the_way_to_it(
    tmp_path: Path, inside: LyingServer, outside: LyingServer
) -> None:
    (tmp_path / "hosts").write_text("127.0.0.7 printer.corp.example\n")
    zones = [corp(inside, hosts=str(tmp_path / "hosts")), zone(".", outside)]
    with resolver(tmp_path, zones, domain="corp.example") as daemon:
        server = f"127.0.0.1:{inside.port}"
        found = resolve(daemon, "www.corp.example")
        told = ("rcode", "zone", "view", "server", "cache", "why")
        assert [found[key] for key in told] == ["NOERROR", "corp.example", 0, server, "miss", ""]
        assert found["records"] == ["www.corp.example. 60 A 127.0.0.1"]
        assert found["steps"]
        again = resolve(daemon, "www.corp.example")
        assert (again["server"], again["cache"]) == (server, "fresh, 60 s left of 60")
        local = resolve(daemon, "printer")
        assert (local["name"], local["cache"]) == ("printer.corp.example.", "local")
        assert local["server"] == "hosts:1"
        assert resolve(daemon, "mail.corp.example")["why"] == "zone corp.example has the name, but no such records"
        assert resolve(daemon, "mail.corp.example", type="MX")["records"]
        assert resolve(daemon, "www.outside.example", client="192.0.2.1")["rcode"] == "NOERROR"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param(Resolve("www..example"), "empty label", id="no name"),
        pytest.param(Resolve("www.example", "NONSENSE"), "no such type of records", id="no type"),
        pytest.param(Resolve("www.example", client="10.0.0"), "no address of a client", id="no client"),
        pytest.param(CacheFlush(name="a..b"), "'a..b'", id="no name to be forgotten"),
        pytest.param(CacheDump(zone="a..b"), "'a..b'", id="no zone"),
        pytest.param(CacheDump(limit=0), "the limit is a number", id="no limit"),
    ],
)
def test_what_can_not_be_asked_is_refused_and_does_no_harm(
    tmp_path: Path, inside: LyingServer, request_: Request, words: str
) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        with pytest.raises(ControlError, match=words):
            daemon.control(request_)
        assert lines(ask(daemon, "www.corp.example"))


def test_without_a_resolver_that_is_said(tmp_path: Path) -> None:
    with sockd(tmp_path) as daemon:
        for request in (Resolve("www.example"), CacheFlush(), CacheDump()):
            with pytest.raises(ControlError, match="no resolver runs"):
                daemon.control(request)
        found = status(daemon)
        assert (found["resolver"], found["zones"], found["listening_dns"]) == (None, [], [])


def test_caches_are_shown_and_forgotten_by_zone_and_name(
    tmp_path: Path, inside: LyingServer, outside: LyingServer
) -> None:
    with resolver(tmp_path, [corp(inside), zone(".", outside)]) as daemon:
        for name in ("www.corp.example", "no.corp.example", "www.outside.example"):
            ask(daemon, name)
            ask(daemon, name)  # which makes it hot
        rows, done = daemon.control(CacheDump())
        assert {(row["zone"], row["name"], row["rcode"]) for row in rows} == {
            ("corp.example", "www.corp.example.", "NOERROR"),
            ("corp.example", "no.corp.example.", "NXDOMAIN"),
            (".", "www.outside.example.", "NOERROR"),
        }
        assert done["matched"] == 3
        rows, done = daemon.control(CacheDump(zone="corp.example", limit=1))
        assert (len(rows), done["matched"]) == (1, 2)
        assert daemon.control(CacheFlush(zone="example.net"))[1] == {"flushed": 0}
        assert daemon.control(CacheFlush(name="corp.example"))[1] == {"flushed": 2}
        ask(daemon, "www.corp.example")
        ask(daemon, "www.outside.example")
        assert len(inside.heard("www.corp.example")) == 2
        assert len(outside.heard()) == 1
        assert daemon.control(CacheFlush())[1] == {"flushed": 2}


def test_status_and_metrics_count_what_was_asked(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        for _ in range(5):
            ask(daemon, "www.corp.example")
        assert eventually(lambda: status(daemon)["resolver"]["queries"] == 5)
        found = status(daemon)
        totals = found["resolver"]
        assert (totals["forwarded"], totals["hits"], totals["servfail"]) == (1, 4, 0)
        assert eventually(lambda: status(daemon)["zones"][0]["servers"][0]["queries"] == 1)
        (row,) = status(daemon)["zones"]
        assert (row["zone"], row["private"], row["entries"]) == ("corp.example", True, 1)
        assert row["servers"][0]["state"] == "up"
        (process,) = [one for one in found["processes"] if one["name"] == "resolver"]
        assert process["pid"] in children(daemon, "resolver")
        assert (process["capabilities"], process["no_new_privs"], process["user"] == 0) == ([], True, False)
        text = daemon.control(Metrics())[1]["text"]
        assert re.search(r"^gateway_dns_queries_total 5(\.0)?$", text, re.MULTILINE), text
        assert eventually(lambda: re.search("sockd: resolver: [0-9]+ q/s, 80% hits, 1 name\0", titles(daemon)))


# Sessions


@contextlib.contextmanager
def connected(daemon: Sockd, name: str, port: int) -> Iterator[int]:
    """What a client is answered that wants to be connected to a name."""
    with Wire(daemon.port) as wire:
        wire.send(socks4a(name.encode(), port))
        yield read_reply4(wire).code


def test_sessions_have_names_looked_up_by_the_zones(tmp_path: Path, inside: LyingServer) -> None:
    with Peer(lambda _: None) as target, resolver(tmp_path, [corp(inside)], workers=2) as daemon:
        with connected(daemon, "www.corp.example", target.port) as code:
            assert code == 90
        with connected(daemon, "no.corp.example", target.port) as code:
            assert code == 91
        with connected(daemon, "www.outside.example", target.port) as code:
            assert code == 91
        assert daemon.wait_record(host="no.corp.example")["end"].endswith("the name does not exist")
        assert {one.name for one in inside.heard()} == {"www.corp.example", "no.corp.example"}


def test_look_ups_go_on_when_worker_or_resolver_were_killed(tmp_path: Path, inside: LyingServer) -> None:
    with Peer(lambda _: None) as target, resolver(tmp_path, [corp(inside)]) as daemon:
        for kind in ("worker", "resolver", "worker"):
            (victim,) = children(daemon, kind)
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: children(daemon, kind) not in ([], [victim]))  # noqa: B023
            daemon.wait_log(rf"{kind}.* \(process {victim}\) was killed by SIGKILL")
            with connected(daemon, "www.corp.example", target.port) as code:
                assert code == 90


def test_without_zones_any_more_sessions_ask_the_host_again(tmp_path: Path, inside: LyingServer) -> None:
    with Peer(lambda _: None) as target, resolver(tmp_path, [corp(inside)]) as daemon:
        ((host, port),) = doors(daemon)
        notes = reload(daemon, {})["notes"]
        assert notes == ["[resolver] whether it has zones counts from the next start of sockd on"]
        assert doors(daemon) == []
        assert eventually(lambda: not _is_open(host, port))
        with connected(daemon, "localhost", target.port) as code:
            assert code == 90
        reload(daemon, with_names([corp(inside)], port=port))
        assert doors(daemon) == [(host, port)]
        assert lines(ask(daemon, "www.corp.example"))
        with connected(daemon, "www.corp.example", target.port) as code:
            assert code == 90


def _is_open(host: str, port: int) -> bool:
    """Whether anybody is there, by UDP or TCP."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                return True
    return False


# Other files


def test_a_reload_keeps_the_answers_of_zones_that_stay(
    tmp_path: Path, inside: LyingServer, outside: LyingServer
) -> None:
    with resolver(tmp_path, [corp(inside), zone(".", outside)]) as daemon:
        ((host, port),) = doors(daemon)
        for name in ("www.corp.example", "www.outside.example"):
            ask(daemon, name)
        reload(daemon, with_names([corp(inside), zone(".", outside, max_ttl=30)]))
        assert doors(daemon) == [(host, port)]
        for name in ("www.corp.example", "www.outside.example"):
            assert lines(ask(daemon, name))
        assert len(inside.heard("www.corp.example")) == 1
        assert len(outside.heard("www.outside.example")) == 2


def test_a_resolver_that_may_not_read_the_names_of_ports_takes_rules_with_them(
    tmp_path: Path, inside: LyingServer
) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        write_files(daemon.folder, f"{LOOPBACK}permit 192.0.2.0/24 ALL eq https\n", settings=with_names([corp(inside)]))
        assert daemon.control(Reload())[1]["notes"] == []
        assert lines(ask(daemon, "www.corp.example"))


def test_a_reload_that_is_refused_changes_nothing(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        (tmp_path / "hosts").write_text("this is no hosts file\n")
        with pytest.raises(ControlError, match="hosts:1"):
            reload(daemon, with_names([corp(inside, hosts=str(tmp_path / "hosts"))]))
        assert lines(ask(daemon, "www.corp.example"))


def test_a_reload_moves_both_doors_to_another_port(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        ((host, before),) = doors(daemon)
        port = _free_port()
        with socket.create_connection((host, before)) as kept:
            reload(daemon, with_names([corp(inside)], port=port))
            assert doors(daemon) == [(host, port)]
            daemon.wait_log(f"; for names on {host}:{port}")
            for tcp in (False, True):
                assert lines(ask(daemon, "www.corp.example", tcp=tcp))
            assert eventually(lambda: not _accepts(host, before))
            query = dns.message.make_query("www.corp.example", "A")
            dns.query.send_tcp(kept, query)
            assert lines(dns.query.receive_tcp(kept)[0]), "who was connected goes on"
        reload(daemon, with_names([corp(inside)]))
        ((_, last),) = doors(daemon)
        assert last not in (0, before, port)
        for tcp in (False, True):
            assert lines(ask_at(host, last, "www.corp.example", tcp=tcp))


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _free_port() -> int:
    """One that UDP and TCP have free."""
    for _ in range(20):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                other.bind(one.getsockname())
                return int(one.getsockname()[1])
    raise AssertionError("no port is free for both")


def test_a_first_zone_waits_for_a_restart_and_that_is_said(tmp_path: Path, inside: LyingServer) -> None:
    with sockd(tmp_path) as daemon:
        done = reload(daemon, with_names([corp(inside)], port=_free_port()))
        assert done["notes"] == ["[resolver] whether it has zones counts from the next start of sockd on"]
        assert doors(daemon) == []
        assert children(daemon, "resolver") == []


def test_who_may_ask_follows_the_files(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)], clients=["192.0.2.0/24"]) as daemon:
        ((host, port),) = doors(daemon)
        query = dns.message.make_query("www.corp.example", "A")
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(query, host, timeout=0.2, port=port)
        reload(daemon, with_names([corp(inside)], clients=["127.0.0.0/8"]))
        assert lines(ask(daemon, "www.corp.example"))
        reload(daemon, with_names([corp(inside)], clients=["192.0.2.0/24"]))
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(query, host, timeout=0.2, port=port)


# Logs


def test_questions_are_written_down_with_client_and_upstream(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)], log="all") as daemon:
        ask(daemon, "www.corp.example")
        server = f"127.0.0.1:{inside.port}"
        daemon.wait_log(rf"query 127\.0\.0\.1 www\.corp\.example\. A: NOERROR \(corp\.example, miss, {server}, ")
        record = daemon.wait_record(name="www.corp.example.")
        assert (record["client"], record["zone"], record["server"]) == ("127.0.0.1", "corp.example", server)
        reload(daemon, with_names([corp(inside)], log="none"))
        ask(daemon, "no.corp.example")
        ask(daemon, "mail.corp.example")
        reload(daemon, with_names([corp(inside)], log="all"))
        ask(daemon, "no.corp.example")
        daemon.wait_log(r"query 127\.0\.0\.1 no\.corp\.example\. A: NXDOMAIN \(corp\.example, hit")
        assert "mail" not in daemon.log()


def test_a_flood_of_failures_is_not_one_of_lines(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        (where,) = doors(daemon)
        query = dns.message.make_query("www.outside.example", "A").to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(100):
                sock.sendto(query, where)
        daemon.wait_log(r"[0-9]+ more questions failed within 1 s")
        assert 0 < daemon.log().count("query 127.0.0.1 www.outside.example. A: REFUSED") < 100


# Several, and their deaths


def test_several_resolvers_share_the_port_and_all_hear_the_operator(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)], workers=2) as daemon:
        pass
    with sockd(tmp_path, workers=2, settings=with_names([corp(inside)], workers=2)) as daemon:
        first = next(one["pid"] for one in status(daemon)["processes"] if one["name"] == "resolver 1")
        assert eventually(lambda: all(f"sockd: resolver {number}: " in titles(daemon) for number in (1, 2)))
        ((host, port),) = doors(daemon)

        def both_have_answered() -> bool:
            # the kernel deals clients out by their ports
            ask_at(host, port, "www.corp.example")
            return bool(sum(row["entries"] for row in status(daemon)["zones"]) == 2)

        assert eventually(both_have_answered)
        assert len(daemon.control(CacheDump())[0]) == 2
        assert daemon.control(CacheFlush())[1] == {"flushed": 2}
        with Peer(lambda _: None) as target:
            for _ in range(8):
                with connected(daemon, "www.corp.example", target.port) as code:
                    assert code == 90
        os.kill(first, signal.SIGKILL)
        daemon.wait_log(rf"resolver 1 \(process {first}\) was killed by SIGKILL")
        assert resolve(daemon, "www.corp.example")["rcode"] == "NOERROR"
        assert eventually(lambda: len(children(daemon, "resolver")) == 2 and first not in children(daemon, "resolver"))


def test_a_resolver_that_is_killed_is_replaced_and_its_port_goes_on(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        where = doors(daemon)
        ask(daemon, "www.corp.example")
        assert eventually(lambda: status(daemon)["resolver"]["queries"] == 1)
        (victim,) = children(daemon, "resolver")
        os.kill(victim, signal.SIGKILL)
        daemon.wait_log(rf"resolver \(process {victim}\) was killed by SIGKILL; a new one starts")
        ((host, port),) = where
        for tcp in (False, True):
            assert lines(ask_at(host, port, "www.corp.example", tcp=tcp))
        assert doors(daemon) == where
        assert len(inside.heard("www.corp.example")) == 2, "the cache was lost with it"
        assert eventually(lambda: status(daemon)["resolver"]["queries"] == 3), "what was counted stays counted"


def test_the_operator_hears_while_no_resolver_runs(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        for _ in range(3):  # so that the next one waits for a while
            (victim,) = children(daemon, "resolver")
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: children(daemon, "resolver") not in ([], [victim]))  # noqa: B023
        (victim,) = children(daemon, "resolver")
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: "resolver does not run" in status(daemon)["troubles"])
        with pytest.raises(ControlError, match="no resolver runs"):
            resolve(daemon, "www.corp.example")
        assert status(daemon)["zones"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_resolver_with_all_others(tmp_path: Path, inside: LyingServer, number: int) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon, socket.create_connection(doors(daemon)[0]):
        daemon.process.send_signal(number)
        daemon.process.wait(20)


def test_a_resolver_ends_with_the_supervisor(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon:
        daemon.expected_status = -signal.SIGKILL
        (pid,) = children(daemon, "resolver")
        os.kill(daemon.pid, signal.SIGKILL)
        assert eventually(lambda: not Path(f"/proc/{pid}").exists() or proc.name(pid) == "")


def test_a_port_for_names_that_is_taken_refuses_the_start(tmp_path: Path, inside: LyingServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with (
            pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{port}/udp: Address already in use"),
            sockd(tmp_path, settings=with_names([corp(inside)], port=port)),
        ):
            pass


def test_the_control_socket_speaks_of_the_resolver_as_the_protocol_has_it(tmp_path: Path, inside: LyingServer) -> None:
    with resolver(tmp_path, [corp(inside)]) as daemon, ControlClient.connect(str(tmp_path / "control.sock")) as client:
        rows, done = client.ask(Resolve("www.corp.example", "AAAA"))
        assert [row["text"] for row in rows] == done["steps"]
        assert done["records"] == ["www.corp.example. 60 AAAA ::1"]
        assert daemon.control(CacheDump(name="corp.example"))[1] == {"matched": 1}
