"""Other people's stub resolvers asking through a resolver: real programs on a host of their own, with its resolv.conf.

Each test is run against the name server itself and against dnsmasq, too: where those fail as well, it is not ours.
"""

import contextlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.lying.habits import Code
from tests.support.lying.message import SERVFAIL
from tests.support.lying.sending import on
from tests.support.lying.zone import Zone, chain
from tests.support.lyingserver import ROOT, LyingServer
from tests.support.netns import Namespace, join, namespace, needs_namespaces
from tests.support.resolvers import DNSMASQ, LOOPBACK, RESOLVERS
from tests.support.stubs.programs import PROGRAMS, Stub

pytestmark = needs_namespaces
HOST, SERVER, WEB = "192.0.2.1", "192.0.2.53", "192.0.2.80"
CHROMIUM = shutil.which("chromium")
#: some ask again and again where a server has trouble
OPTIONS = "options timeout:1 attempts:1\n"
NONE, AGAIN = "error: none", "error: again"
MANY = [f"198.51.100.{number}" for number in range(1, 201)]

ZONE: Zone = {
    "www.example": {"A": ["203.0.113.1"], "AAAA": ["2001:db8:ff::1"]},
    "four.example": {"A": ["203.0.113.4"]},
    "six.example": {"AAAA": ["2001:db8:ff::6"]},
    "alias.example": {"CNAME": ["www.example."]},
    **chain("long.example", 4, "203.0.113.5"),
    "*.star.example": {"A": ["203.0.113.7"]},
    "empty.example": {"TXT": ['"nothing of use"']},
    "broken.example": {"A": ["203.0.113.8"]},
    "some.example": {"A": MANY[:40]},
    "many.example": {"A": MANY},
    "*.web.example": {"A": [WEB]},
}


class Host(NamedTuple):
    """A host with stub resolvers, which ask the resolver that its resolv.conf names."""

    space: Namespace
    resolver: str
    names: LyingServer
    is_ours: bool


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Namespace, LyingServer]]:
    """That host, and a name server and a web server on another one."""
    files = {"hosts": "127.0.0.1 localhost\n", "nsswitch.conf": "hosts: files dns\n"}
    with contextlib.ExitStack() as stack:
        here, outside = stack.enter_context(namespace(files, "stubs")), stack.enter_context(namespace())
        join(here, outside, (f"{HOST}/24",), (f"{SERVER}/24", f"{WEB}/24"))
        broken = on(Code(SERVFAIL), name="broken.example")
        server = LyingServer(ZONE, broken, addresses=[SERVER], port=53, apexes=["example"], prefix=outside.prefix)
        stack.enter_context(_web(outside))
        yield here, stack.enter_context(server)


@contextlib.contextmanager
def _web(space: Namespace) -> Iterator[None]:
    command = [*space.prefix, sys.executable, "-m", "tests.support.lab.targets", "web"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.kill()


@pytest.fixture(scope="module", params=RESOLVERS)
def host(
    hosts: tuple[Namespace, LyingServer], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Host]:
    if request.param == "dnsmasq" and DNSMASQ is None:
        pytest.skip("needs dnsmasq: apt-get install dnsmasq-base")
    space, names = hosts
    started = RESOLVERS[request.param](space, tmp_path_factory.mktemp(request.param), SERVER, LOOPBACK)
    with started as address:
        (Path("/etc/netns") / space.name / "resolv.conf").write_text(f"nameserver {address}\n{OPTIONS}")
        yield Host(space, address, names, request.param == "sockd")


@pytest.fixture(scope="module", params=PROGRAMS)
def stub(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Stub:
    return Stub(PROGRAMS[request.param], tmp_path_factory.mktemp("stub"))


ANSWERS = {
    "www.example": {"203.0.113.1", "2001:db8:ff::1"},
    "four.example": {"203.0.113.4"},
    "six.example": {"2001:db8:ff::6"},
    "FoUr.ExAmPlE": {"203.0.113.4"},
    "four.example.": {"203.0.113.4"},
    "alias.example": {"203.0.113.1", "2001:db8:ff::1"},
    "long.example": {"203.0.113.5"},
    "any.star.example": {"203.0.113.7"},
    "nowhere.example": {NONE},
    "empty.example": {NONE},
    "broken.example": {AGAIN},
}
IN_512_OCTETS = (512 - 12 - 18) // 16
"""Addresses of such a name: behind the header and the question, each with a pointer for its owner."""
LARGE = {"some.example": set(MANY[:40]), "many.example": set(MANY)}


def test_a_stub_understands_the_answers(host: Host, stub: Stub) -> None:
    assert stub.ask(host.space, host.resolver, ANSWERS) == ANSWERS


def test_a_stub_gets_all_of_a_large_answer(host: Host, stub: Stub) -> None:
    if stub.program.has_tcp:
        assert stub.ask(host.space, host.resolver, LARGE) == LARGE
        return
    if not host.is_ours:
        pytest.skip("this stub never asks by TCP (musl does from 1.2.4 on), and others cut answers as they like")
    for _ in range(2):  # as it comes, and as it is known
        found = stub.ask(host.space, host.resolver, LARGE)
        assert {name: len(addresses) for name, addresses in found.items()} == dict.fromkeys(LARGE, IN_512_OCTETS)
        assert all(found[name] < LARGE[name] for name in LARGE)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize(
    ("feature", "types"),
    [
        pytest.param("--enable-features=AsyncDns", {"A", "HTTPS"}, id="by its own resolver, which wants HTTPS records"),
        pytest.param("--disable-features=AsyncDns", {"A"}, id="by that of the system"),
    ],
)
def test_chromium_finds_a_page_by_its_name(host: Host, tmp_path: Path, feature: str, types: set[str]) -> None:
    name = f"n{uuid.uuid4().hex}.web.example"
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    command = [
        *(*host.space.prefix, str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet),
        *(f"--user-data-dir={tmp_path / 'profile'}", feature, "--dump-dom", f"http://{name}/"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert f'"target": "{WEB}"' in done.stdout, done.stderr
    assert {heard.type for heard in host.names.heard(name)} == types
