"""``make run``: the starter files start on whatever host this is, and what it says to try works."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest

from gateway.config.settings import parse_settings
from tests.support import starter
from tests.support.daemon import PROGRAM
from tests.support.waiting import eventually

LISTED = "# by hand\nnameserver 192.0.2.53\nsearch corp.example\n"


@pytest.fixture
def servers(tmp_path: Path) -> Path:
    path = tmp_path / "resolv.conf"
    path.write_text(LISTED)
    return path


def text(folder: Path) -> str:
    return (folder / "gateway.toml").read_text()


def test_a_host_with_name_servers_gets_the_files_as_they_are(tmp_path: Path, servers: Path) -> None:
    starter.prepare(tmp_path / "run", servers)
    found = text(tmp_path / "run").replace(f"port = {resolver_port(tmp_path / 'run')}", f"port = {starter.PORT}")
    assert found == (starter.STARTER / "gateway.toml").read_text()
    assert (tmp_path / "run" / "sockd.conf").read_text() == (starter.STARTER / "sockd.conf").read_text()


def resolver_port(folder: Path) -> int:
    return parse_settings(text(folder), str(folder / "gateway.toml")).resolver.port


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(None, id="no such file"),
        pytest.param("search corp.example\n", id="none"),
        pytest.param("nameserver nowhere\n", id="a mistake"),
    ],
)
def test_a_host_without_name_servers_gets_settings_that_need_none(
    tmp_path: Path, servers: Path, written: str | None
) -> None:
    if written is None:
        servers.unlink()
    else:
        servers.write_text(written)
    starter.prepare(tmp_path / "run", servers)
    found = parse_settings(text(tmp_path / "run"), "/x/gateway.toml")
    assert [(zone.name, zone.servers) for zone in found.resolver.zone] == [("corp.example", ()), (".", ())]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_somebody_has_is_not_taken(
    servers: Path, kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("0.0.0.0", 0))
        monkeypatch.setattr(starter, "PORT", other.getsockname()[1])
        assert not starter.is_free(starter.PORT)
        assert starter.PORT < starter.free_port() < starter.PORT + 100
        found = starter.fitted(f"port = {starter.PORT}\n", servers)
        assert found != f"port = {starter.PORT}\n"


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path, servers: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[internal]\nport = 1081\n")
    starter.prepare(tmp_path, servers)
    assert text(tmp_path) == "[internal]\nport = 1081\n"
    assert (tmp_path / "sockd.conf").exists()
    assert list(starter.hints(tmp_path)) == [
        "Try, from another terminal:",
        "  curl --proxy socks5h://127.0.0.1:1081 https://example.com/",
        f"Rules: {tmp_path}/sockd.conf   Settings: {tmp_path}/gateway.toml   End: Ctrl-C",
    ]


def test_settings_with_a_mistake_are_left_to_sockd(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[internal]\nprot = 1081\n")
    assert list(starter.hints(tmp_path)) == []


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[list[str], int]]:
    """What it says to try, and the port for names of the daemon that runs with the files, on free ports."""
    folder = tmp_path / "run"
    said = subprocess.run(
        [sys.executable, "-m", "tests.support.starter", str(folder)], capture_output=True, text=True, check=True
    )
    port = resolver_port(folder)
    (folder / "gateway.toml").write_text(text(folder).replace("port = 1080", "port = 0").replace(str(port), "0"))
    process = subprocess.Popen([PROGRAM, "-d", "-f", str(folder / "gateway.toml")], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        ready = next(line for line in process.stderr if " ready -- " in line)
        yield said.stdout.splitlines(), int(ready.partition("; names on 127.0.0.1:")[2].partition(",")[0])
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_the_starter_files_start_here_and_the_name_to_try_is_answered(started: tuple[list[str], int]) -> None:
    said, port = started
    (dig,) = [line.split() for line in said if line.startswith("  dig ")]
    assert dig[:3] == ["dig", "@127.0.0.1", "-p"]
    query = dns.message.make_query(dig[-1], "A")
    assert eventually(lambda: dns.query.udp(query, "127.0.0.1", timeout=5, port=port).answer)
