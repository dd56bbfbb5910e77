"""The real curl through every kind of proxy it knows, small and large, alone and in a crowd."""

import contextlib
import hashlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import proc
from tests.support.daemon import Sockd, sockd
from tests.support.peers import web_server
from tests.support.stream import blocks, checksum, digest_of, pieces_of
from tests.support.waiting import eventually

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="needs curl; the Debian package curl runs it")

RULES = "permit 127.0.0.0 255.0.0.0 127.0.0.0 255.0.0.0 auth=password\n"
MIB = 1 << 20
SMALL = 10_000
CROWD = 200


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with web_server() as address:
        yield address


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockd]:
    """A daemon that wants a password."""
    with sockd(tmp_path_factory.mktemp("guarded"), RULES, passwords={"fred": "sesame 7"}) as daemon:
        yield daemon


def command(proxy: str, *arguments: str) -> list[str]:
    """curl without the user's own settings, its traffic always through the proxy."""
    quiet = ["-q", "--silent", "--show-error", "--fail", "--noproxy", "", "--max-time", "120"]
    return [str(CURL), *quiet, "--proxy", proxy, "--proxytunnel", *arguments]


def fetch(proxy: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command(proxy, *arguments), capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h", "http"])
@pytest.mark.parametrize("host", [pytest.param("127.0.0.1", id="address"), pytest.param("localhost", id="name")])
def test_curl_fetches_a_page(gateway: Sockd, web: str, scheme: str, host: str) -> None:
    done = fetch(f"{scheme}://127.0.0.1:{gateway.port}", f"{web.replace('127.0.0.1', host)}/1/{SMALL}")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).hexdigest() == checksum(1, SMALL)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_curl_sends_a_user_id(gateway: Sockd, web: str, scheme: str) -> None:
    done = fetch(f"{scheme}://{scheme}-user@127.0.0.1:{gateway.port}", f"{web}/1/{SMALL}")
    assert done.returncode == 0, done.stderr
    assert gateway.wait_record(user=f"{scheme}-user")["received"] > SMALL


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
@pytest.mark.parametrize(
    ("user", "served"),
    [
        pytest.param("fred:sesame%207@", True, id="with the right password"),
        pytest.param("fred:sesame%208@", False, id="with a wrong password"),
        pytest.param("", False, id="without a password"),
    ],
)
def test_curl_and_passwords(guarded: Sockd, web: str, scheme: str, user: str, served: bool) -> None:
    done = fetch(f"{scheme}://{user}127.0.0.1:{guarded.port}", f"{web}/1/{SMALL}")
    assert (done.returncode == 0) is served, done.stderr
    assert len(done.stdout) == (SMALL if served else 0)


def test_curl_hears_why_it_was_refused(guarded: Sockd, web: str) -> None:
    """curl shows the code of a SOCKS5 refusal, and an HTTP status, to its user."""
    socks = fetch(f"socks5h://127.0.0.1:{guarded.port}", web)
    assert socks.returncode == 97
    assert re.search(rb"\(2\)", socks.stderr)
    http = fetch(f"http://127.0.0.1:{guarded.port}", web)
    assert b"407" in http.stderr


@pytest.mark.parametrize(
    ("scheme", "size", "crowd_size", "crowd_rate"),
    [
        pytest.param("socks5h", 64 * MIB, 262_144, 65_536, id="64 MiB by SOCKS5"),
        pytest.param("socks5h", 1024 * MIB, 2 * MIB, 131_072, id="1 GiB by SOCKS5", marks=pytest.mark.full),
        pytest.param("http", 1024 * MIB, 2 * MIB, 131_072, id="1 GiB by HTTP", marks=pytest.mark.full),
    ],
)
def test_large_transfers_in_a_crowd(
    gateway: Sockd, web: str, tmp_path: Path, scheme: str, size: int, crowd_size: int, crowd_rate: int
) -> None:
    """A download and an upload at once, compared by checksum, while 200 other transfers run at their own pace."""
    proxy = f"{scheme}://127.0.0.1:{gateway.port}"
    idle = gateway.sockets_at_rest()
    # On a machine that is slow or busy the crowd has to be slower, too.
    assert any(
        transfer_in_a_crowd(gateway, proxy, web, tmp_path, size, crowd_size, rate)
        for rate in (crowd_rate, crowd_rate // 4)
    ), "the crowd was not there, or gone before the large transfers had ended"
    assert eventually(lambda: proc.descriptors(gateway.pid)["socket"] == idle)


def transfer_in_a_crowd(
    gateway: Sockd, proxy: str, web: str, folder: Path, size: int, crowd_size: int, crowd_rate: int
) -> bool:
    """Whether all of the crowd was there until both large transfers had ended; they are compared in any case."""
    idle = gateway.sockets_at_rest()
    with crowd(proxy, web, folder, crowd_size, crowd_rate) as others:
        was_there = eventually(lambda: proc.descriptors(gateway.pid)["socket"] >= idle + 2 * CROWD)
        uploaded: list[str] = []
        uploading = threading.Thread(target=lambda: uploaded.append(upload(proxy, web, size)))
        uploading.start()
        downloaded = download(proxy, web, size)
        uploading.join()
        was_there = was_there and others.poll() is None
    assert downloaded == checksum(1, size)
    assert uploaded == [checksum(2, size)]
    sums = [hashlib.sha256((folder / str(seed)).read_bytes()).hexdigest() for seed in range(1, CROWD + 1)]
    assert sums == [checksum(seed, crowd_size) for seed in range(1, CROWD + 1)]
    return was_there


@contextlib.contextmanager
def crowd(proxy: str, web: str, folder: Path, size: int, rate: int) -> Iterator["subprocess.Popen[bytes]"]:
    """One curl with 200 transfers in parallel, each held to a rate; its end is waited for on leaving."""
    options = ("--parallel", "--parallel-immediate", "--parallel-max", str(CROWD), "--limit-rate", str(rate))
    transfers = command(proxy, *options, "--output", f"{folder}/#1", f"{web}/[1-{CROWD}]/{size}")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(transfers, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE)
    try:
        yield process
    except BaseException:
        process.kill()
        process.communicate()
        raise
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def download(proxy: str, web: str, size: int) -> str:
    """The checksum of what curl wrote."""
    with subprocess.Popen(command(proxy, f"{web}/1/{size}"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        digest = digest_of(pieces_of(process.stdout.read))
        assert process.wait(120) == 0
    return digest


def upload(proxy: str, web: str, size: int) -> str:
    """The checksum that the web server answers for what curl read from us and sent."""
    options = ("--upload-file", "-", f"{web}/upload")
    with subprocess.Popen(command(proxy, *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for block in blocks(2, size):
            process.stdin.write(block)
        process.stdin.close()
        answer = process.stdout.read()
        assert process.wait(120) == 0
    return answer.decode()
