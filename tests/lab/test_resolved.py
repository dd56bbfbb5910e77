"""``systemd-resolved`` on a machine of the inside, which asks through a resolver, and validates what it is told.

It tries what its server can do, and would fall back to plain questions, and with them fail to validate, if ours did not
pass DO, the signatures and large answers. Debian's is run in a machine of its own, never on this host.
"""

import contextlib
from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.support.boot.machine import Machine, machine
from tests.support.boot.trees import missing
from tests.support.lab.servers import name_server, needs_lab
from tests.support.lab.topology import NameServer
from tests.support.netns import join, namespace
from tests.support.resolvers import DNSMASQ, RESOLVERS
from tests.support.signedzone import WEB, signed_world
from tests.support.signedzone import missing as missing_signers
from tests.support.waiting import eventually

LACKING = missing("systemd-nspawn") or f"{'needs ldnsutils: apt-get install ldnsutils' if missing_signers() else ''}"
pytestmark = [needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is missing")]
SERVER, OUTSIDE_END = "192.0.2.53", "192.0.2.1"
#: of the machine, and of the gateway on the inside
CLIENT, RESOLVER = "192.168.77.2", "192.168.77.1"
STUB = "127.0.0.53"

SETTINGS = f"[Resolve]\nDNS={RESOLVER}\nFallbackDNS=\nDNSSEC=yes\nLLMNR=no\nMulticastDNS=no\n"
PREPARE = "systemctl enable systemd-resolved; ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf"


@pytest.fixture(scope="module", params=[name for name in RESOLVERS if name != "straight"])
def resolved(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine whose names come by systemd-resolved, by a resolver, from the name server of a signed world."""
    if request.param == "dnsmasq" and DNSMASQ is None:
        pytest.skip("needs dnsmasq: apt-get install dnsmasq-base")
    folder = tmp_path_factory.mktemp("resolved")
    world = signed_world(folder, SERVER)
    files = {
        "/etc/systemd/resolved.conf": SETTINGS,
        "/etc/dnssec-trust-anchors.d/root.positive": f"{world.anchor}\n",
        "/etc/machine-id": "0123456789abcdef" * 2 + "\n",
    }
    with contextlib.ExitStack() as stack:
        gateway, outside = stack.enter_context(namespace()), stack.enter_context(namespace())
        join(gateway, outside, (f"{OUTSIDE_END}/24",), (f"{SERVER}/24",))
        stack.enter_context(name_server(NameServer((SERVER,), world.zones), outside, folder / "nsd"))
        booted = stack.enter_context(machine("systemd", folder / "machine", files, PREPARE))
        join(booted.space, gateway, (f"{CLIENT}/24",), (f"{RESOLVER}/24",))
        stack.enter_context(RESOLVERS[request.param](gateway, folder / "resolver", SERVER, RESOLVER))
        assert eventually(lambda: is_up(booted), within=30), booted.console()
        yield booted


def is_up(booted: Machine) -> bool:
    with contextlib.suppress(OSError, dns.exception.Timeout):
        return ask(booted, "www.unsigned", within=1).rcode() == dns.rcode.NOERROR
    return False


def ask(booted: Machine, name: str, type: str = "A", within: float = 20) -> dns.message.Message:
    """What systemd-resolved's own server says, asked as by a stub that wants to know whether it is authentic."""
    query = dns.message.make_query(name, type, want_dnssec=True)
    with booted.space.inside():
        return dns.query.udp_with_fallback(query, STUB, timeout=within)[0]


@pytest.mark.parametrize(
    ("name", "type", "rcode", "authentic", "shown"),
    [
        pytest.param("www.signed", "A", dns.rcode.NOERROR, True, WEB, id="a signed address"),
        pytest.param("alias.signed", "A", dns.rcode.NOERROR, True, WEB, id="a signed alias"),
        pytest.param("nowhere.signed", "A", dns.rcode.NXDOMAIN, True, "", id="no such name, signed"),
        pytest.param("www.signed", "MX", dns.rcode.NOERROR, True, "", id="no such type, signed"),
        pytest.param("www.unsigned", "A", dns.rcode.NOERROR, False, WEB, id="an unsigned address"),
        pytest.param("www.bogus", "A", dns.rcode.SERVFAIL, False, "", id="a forged address"),
    ],
)
def test_it_validates(resolved: Machine, name: str, type: str, rcode: int, authentic: bool, shown: str) -> None:
    answer = ask(resolved, name, type)
    assert (answer.rcode(), bool(answer.flags & dns.flags.AD)) == (rcode, authentic), answer.to_text()
    assert shown in "".join(record.to_text() for rrset in answer.answer for record in rrset)


def test_programs_of_the_machine_find_names(resolved: Machine) -> None:
    assert resolved.run("getent", "ahostsv4", "www.unsigned").stdout.split()[0] == WEB
    assert resolved.run("getent", "ahostsv4", "www.bogus").returncode != 0
