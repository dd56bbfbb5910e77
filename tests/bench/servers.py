"""The proxies that are compared, as a table: how each is configured; and how servers are started and stopped.

All get the same work: SOCKS5 without authentication, access from and to 127.0.0.0/8, one record of each session's
begin or end in a file. Each runs in a session of its own and is ended by its own process group, never by name.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.bench import needs
from tests.bench.errors import BenchError

HOST = "127.0.0.1"

#: below the kernel's ephemeral ports (32768 and up), so that no outgoing connection can be sitting on one
_FIRST_PORT = 21080

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0


class Site(NamedTuple):
    """Where one instance of a server lives: its own folder, and its port on 127.0.0.1."""

    folder: Path
    port: int


class Peer(NamedTuple):
    """One server of the comparison."""

    name: str
    #: what must be installed for it, as `needs` knows it; None for what we bring
    program: str | None
    #: one line for the report: how it is configured
    settings: str
    #: text of its version
    version: Callable[[], str]
    #: writes its files into the folder and answers its command line; what it prints goes to ``output`` in the folder
    prepare: Callable[[Site], list[str]]
    #: whether it does its work on this port: more than that it listens
    serves: Callable[[int], bool]
    #: its own port; 0: any that is free
    port: int = 0


def first_line(command: list[str]) -> str:
    """What a program says first, when it is asked for its version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_START_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"cannot run {' '.join(command)}: {error}") from error
    return next(iter((done.stdout + done.stderr).strip().splitlines()), "version unknown").rstrip(".")


def installed(program: str) -> str:
    """The path of a program of `needs`; BenchError without it."""
    path = needs.find(program)
    if path is None:
        raise BenchError(f"{program} not found; install the Debian packages: {' '.join(needs.PACKAGES[program])}")
    return path


def _greets(port: int) -> bool:
    """Whether a SOCKS5 server chooses "no authentication" on this port (RFC 1928 §3): more than that it listens."""
    try:
        with socket.create_connection((HOST, port), timeout=2.0) as client:
            client.sendall(b"\x05\x01\x00")
            return client.recv(2) == b"\x05\x00"
    except OSError:
        return False


# ---------------------------------------------------------------------------------------------------------- microsocks


def _microsocks_version() -> str:
    # it has no option that tells its version
    return "microsocks " + first_line(["dpkg-query", "--show", "--showformat=${Version}", "microsocks"])


def _microsocks(site: Site) -> list[str]:
    return [installed("microsocks"), "-i", HOST, "-p", str(site.port)]


# -------------------------------------------------------------------------------------------------------------- danted

#: Logging stands on the socks rule alone: on the client rule too, danted would write twice what the others write.
_DANTED_CONF = """\
logoutput: {folder}/danted.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
{users}
client pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
}}
socks pass {{
    from: 127.0.0.0/8 to: 127.0.0.0/8
    command: connect
    log: connect disconnect
}}
"""

#: as its manual advises, and as it can only be when started by root
_DANTED_USERS = "user.privileged: root\nuser.unprivileged: nobody"


def _danted_version() -> str:
    return first_line([installed("danted"), "-v"]).partition(".  ")[0]  # the copyright stands behind


def _danted(site: Site) -> list[str]:
    users = _DANTED_USERS if os.geteuid() == 0 else ""
    conf = site.folder / "danted.conf"
    conf.write_text(_DANTED_CONF.format(folder=site.folder, port=site.port, users=users))
    return [installed("danted"), "-f", str(conf)]


# --------------------------------------------------------------------------------------------------------------- sockd

_GATEWAY_TOML = """\
[internal]
addresses = ["127.0.0.1"]
port = {port}

[files]
access = "{folder}/sockd.conf"
{routes}
[sockd]
workers = 0

[control]
socket = "{folder}/control.sock"

[log]
classic = "{folder}/sockd.log"
json = "{folder}/sockd.json"
"""

#: The guard keeps "everywhere" away from loopback, so the line that decides must name it.
_PERMIT = "permit 127.0.0.0 255.0.0.0 127.0.0.0 255.0.0.0"

_ONE = "255.255.255.255"


def _foreign_source(n: int) -> str:
    return f"deny 10.{n >> 16}.{n >> 8 & 255}.{n & 255} {_ONE} 192.0.2.77 {_ONE} eq 80"


def _foreign_destination(n: int) -> str:
    return f"deny 127.0.0.0 255.0.0.0 172.{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255} {_ONE} eq 443"


def _foreign_port(n: int) -> str:
    # 1 to 30000: below the ephemeral ports, of which the target has one
    return f"deny 127.0.0.0 255.0.0.0 127.0.2.0 255.255.255.0 eq {1 + n % 30000}"


#: Near misses of three kinds, so that no single field of a request rules all lines out at once.
_FILLERS = (_foreign_source, _foreign_destination, _foreign_port)


def access_rules(count: int) -> str:
    """A sockd.conf of ``count`` different lines, of which only the last matches what the benchmark asks for."""
    fillers = [_FILLERS[n % len(_FILLERS)](n // len(_FILLERS)) for n in range(count - 1)]
    return "\n".join([*fillers, _PERMIT, ""])


def sockd_program() -> str:
    """The one installed beside the Python that runs the benchmark: the tree under test."""
    program = Path(sys.executable).with_name("sockd")
    if not program.exists():
        raise BenchError(f"{program} does not exist; install the project: {sys.executable} -m pip install -e .")
    return str(program)


def sockd_version() -> str:
    """Its name and version."""
    return first_line([sockd_program(), "-ver"])


#: Kernel rules are kept out of it: the benchmark changes nothing of its host.
_ROUTES = """\
routes = "{folder}/sockd.route"

[external]
policy_routing = false
"""

_ROUTE = "127.0.0.1 0.0.0.0 0.0.0.0\n"


def sockd(rules: int, name: str = "sockd", routed: bool = False) -> Peer:
    """Our daemon with a sockd.conf of ``rules`` lines; ``routed``: and a sockd.route, which sends all by loopback."""

    def prepare(site: Site) -> list[str]:
        toml = site.folder / "gateway.toml"
        routes = _ROUTES.format(folder=site.folder) if routed else ""
        toml.write_text(_GATEWAY_TOML.format(folder=site.folder, port=site.port, routes=routes))
        if routed:
            (site.folder / "sockd.route").write_text(_ROUTE)
        (site.folder / "sockd.conf").write_text(access_rules(rules))
        return [sockd_program(), "-d", "-f", str(toml)]

    settings = f"a worker a core, {rules:,} rules (the last one decides), classic and JSON record of each session"
    return Peer(name, None, settings, sockd_version, prepare, _greets)


PEERS = (
    Peer(
        "microsocks",
        "microsocks",
        "as it comes; a line each session into a file",
        _microsocks_version,
        _microsocks,
        _greets,
    ),
    Peer(
        "danted",
        "danted",
        "method none, one client pass and one socks pass rule; connect and disconnect lines into a file",
        _danted_version,
        _danted,
        _greets,
    ),
    sockd(10),
)
"""In the order of the table's columns."""


# ------------------------------------------------------------------------------------------------------------- running


def _free_port() -> int:
    for port in range(_FIRST_PORT, _FIRST_PORT + 1000):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            # what is in TIME_WAIT does not stop the servers, which set this too
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                stream.bind((HOST, port))
                datagrams.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BenchError(f"no free port on {HOST} from {_FIRST_PORT} on")


class Running:
    """A server that is up; leaving the ``with`` block ends it with all its processes."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        """Start ``peer`` with its files in ``folder``, which is made; BenchError when it does not come up."""
        folder.mkdir(parents=True)
        self.name = peer.name
        self._serves = peer.serves
        self.port = peer.port or _free_port()
        self._output = folder / "output"
        command = peer.prepare(Site(folder, self.port))
        with self._output.open("wb") as output:
            # a session of its own: the unit in which its processes are counted, and ended
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _await_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not self._serves(self.port):
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended at its start: {self._last_words()}")
            if time.monotonic() > end:
                raise BenchError(f"{self.name} was not ready within {_START_SECONDS:.0f} s: {self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        lines = self._output.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)  # children that their parent left behind
        except ProcessLookupError:
            pass
        self._process.wait()
