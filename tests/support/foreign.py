"""Other people's SOCKS servers on a free port of 127.0.0.1: microsocks and Dante, as Debian ships them."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.peers import closed_port
from tests.support.waiting import eventually

MICROSOCKS = shutil.which("microsocks")
DANTED = shutil.which("danted") or shutil.which("danted", path="/usr/sbin:/usr/local/sbin")

_DANTED_CONF = """\
logoutput: {folder}/danted.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"""


@contextlib.contextmanager
def microsocks() -> Iterator[int]:
    """A running microsocks; yields its port."""
    port = _free_port()
    with _running([str(MICROSOCKS), "-i", "127.0.0.1", "-p", str(port)], port):
        yield port


@contextlib.contextmanager
def danted(folder: Path) -> Iterator[int]:
    """A running Dante that lets everybody go everywhere; yields its port."""
    port = _free_port()
    (folder / "danted.conf").write_text(_DANTED_CONF.format(folder=folder, port=port))
    command = [str(DANTED), "-f", str(folder / "danted.conf"), "-p", str(folder / "danted.pid")]
    with _running(command, port):
        yield port


def _free_port() -> int:
    with closed_port() as port:
        return port


@contextlib.contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        assert eventually(lambda: _listens(port), within=20), f"{command[0]} does not listen on port {port}"
        yield
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
