"""After a run with known passwords: they are nowhere, in no form, where anybody may look.

Searched are the process list, the logs, everything that the control socket and the metrics' address answer, and what a
rule's command is given.
"""

import base64
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.control import protocol
from tests.support import proc
from tests.support.daemon import Sockd, password_entry, sockd
from tests.support.lookout import Lookout
from tests.support.peers import Peer, closed_port, echo
from tests.support.rawsocks import Wire, connect5, http, read_status
from tests.support.waiting import eventually

RIGHT, WRONG, NEXT = "R1ght-s3same", "Wr0ng-s3same", "N3xt-s3same"
COMMAND = 'env > "{0}/environment"; ps axwwe > "{0}/processes"; echo %u %A %S > "{0}/command"'
FORBIDDEN = "127.0.0.9"


def secrets(*lines: str) -> list[bytes]:
    """The passwords, right and wrong, as they are and as HTTP has them; salts and hashes of lines of the file."""
    words = [word.encode() for word in (RIGHT, WRONG, NEXT)]
    pairs = [b"fred:" + word for word in words]
    hashes = [part.encode() for line in lines for part in line.strip().split("$")[-2:]]
    return [*words, *(base64.b64encode(plain).rstrip(b"=") for plain in (*words, *pairs)), *hashes]


def log_in(daemon: Sockd, host: str, port: int, secret: str) -> None:
    """By SOCKS5 and by HTTP, and a word or two more."""
    with Wire(daemon.port) as wire:
        if connect5(wire, host, port, b"fred", secret.encode()).code == 0:
            wire.send(b"ping")
            assert wire.read(4) == b"ping"
    pair = base64.b64encode(f"fred:{secret}".encode()).decode()
    with Wire(daemon.port) as wire:
        wire.send(http(f"{host}:{port}", f"Proxy-Authorization: Basic {pair}"))
        read_status(wire)


def processes(daemon: Sockd) -> Iterator[tuple[str, bytes]]:
    for pid in proc.tree(daemon.pid):
        for name in ("cmdline", "environ", "comm"):
            yield f"{proc.name(pid)}: {name}", Path(f"/proc/{pid}/{name}").read_bytes()
    yield "ps", subprocess.run(["ps", "axwwe"], capture_output=True, check=True).stdout


REQUESTS = (
    protocol.Status(), protocol.Sessions(), protocol.Rules(), protocol.Loaded(), protocol.Metrics(), protocol.Reload(),
)  # fmt: skip


def answers(daemon: Sockd, metrics: int) -> Iterator[tuple[str, bytes]]:
    """All that can be asked."""
    for request in REQUESTS:
        yield f"control: {type(request).__name__}", msgspec.json.encode(daemon.control(request))
    with socket.create_connection(("127.0.0.1", metrics), 10) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        yield "metrics", b"".join(iter(lambda: sock.recv(1 << 16), b""))


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """All but the passwords file itself."""
    for folder in folders:
        for path in folder.iterdir():
            if path.is_file() and path.name != "passwords":
                yield path.name, path.read_bytes()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder where the commands of rules may write."""
    with tempfile.TemporaryDirectory(prefix="sockd-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps(1)")
def test_no_password_can_be_found_anywhere_after_a_run(tmp_path: Path, shared: Path) -> None:
    (shared / "users").write_text("fred\nmary\n")
    (shared / "users").chmod(0o644)
    permit = f"permit *={shared}/users 127.0.0.0/8 127.0.0.1/32 auth=password : {COMMAND.format(shared)}\n"
    with closed_port() as metrics:
        pass
    old, new = password_entry("fred", RIGHT), password_entry("fred", NEXT)
    with (
        Peer(echo) as target,
        sockd(
            tmp_path,
            f"deny 127.0.0.0/8 {FORBIDDEN}/32\n{permit}",
            passwords={"fred": RIGHT},
            workers=2,
            settings={"metrics": {"addresses": ["127.0.0.1"], "port": metrics}},
        ) as daemon,
        Lookout(tmp_path) as lookout,
        Wire(daemon.port) as live,
    ):
        assert (tmp_path / "passwords").read_text() == old
        assert lookout.is_on(lambda: log_in(daemon, FORBIDDEN, target.port, RIGHT))
        assert connect5(live, "127.0.0.1", target.port, b"fred", RIGHT.encode()).code == 0
        seen: list[tuple[str, bytes]] = []
        for secret in (RIGHT, WRONG):
            for host in ("127.0.0.1", FORBIDDEN):
                log_in(daemon, host, target.port, secret)
        # Half a login is the state in which a process holds a password without knowing what it is.
        with Wire(daemon.port) as half:
            half.send(b"\x05\x01\x02")
            half.read(2)
            half.send(b"\x01\x04fred" + bytes([len(WRONG)]) + WRONG.encode()[:-1])
            seen += [*processes(daemon), *answers(daemon, metrics)]
        (tmp_path / "passwords").write_text(new + "eve:broken\n")
        with pytest.raises(protocol.ControlError, match="passwords:2") as refused:
            daemon.control(protocol.Reload())
        seen.append(("a refused reload", str(refused.value).encode()))
        (tmp_path / "passwords").write_text(new)
        daemon.control(protocol.Reload())
        log_in(daemon, "127.0.0.1", target.port, RIGHT)
        log_in(daemon, "127.0.0.1", target.port, NEXT)
        assert eventually(lambda: (shared / "command").exists() and (shared / "command").read_text())
        assert (shared / "command").read_text().startswith("fred ")
        assert eventually(lambda: len(daemon.records()) >= 13), len(daemon.records())
        # Those whose clients have left may take a moment.
        assert eventually(lambda: daemon.control(protocol.Sessions())[1]["matched"] == 1)
        told = daemon.control(protocol.Kill(protocol.Filter(session="*")))[1]
        assert told == {"killed": 1}
        assert eventually(lambda: lookout.rows[-1]["client"] == "{}:{}".format(*live.name))
        seen.append(("tail", msgspec.json.encode(lookout.rows)))
        seen += [*processes(daemon), *answers(daemon, metrics)]
    seen += files(tmp_path, shared)
    everything = b"".join(content for _, content in seen)
    assert b"fred" in everything
    assert len(lookout.rows) >= 13
    assert {"sockd.log", "sockd.json", "stderr", "environment", "processes", "command", "metrics"} <= dict(seen).keys()
    for secret_bytes in secrets(old, new):
        assert len(secret_bytes) >= 11
        found = [title for title, content in seen if secret_bytes in content]
        assert not found, f"{secret_bytes!r} can be found in {found}"
