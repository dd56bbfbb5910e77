"""A DHCP server of the outside, Debian's dnsmasq, which says more than an uplink should believe."""

import contextlib
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.netns import Namespace
from tests.support.resolvers import DNSMASQ
from tests.support.waiting import eventually

LACKING = "" if DNSMASQ else "needs dnsmasq, for a lease: apt-get install dnsmasq-base"


class Lease(NamedTuple):
    """What a card is told: its address with the prefix length, router and name server, and routes and a name of ill
    will."""

    mac: str
    address: str
    router: str
    names: str
    #: networks that are said to lie behind the router (RFC 3442)
    routes: tuple[str, ...] = ()
    broadcast: str = "255.255.255.255"
    hostname: str = "impostor"


@contextlib.contextmanager
def dhcp_server(space: Namespace, card: str, lease: Lease, folder: Path) -> Iterator[Path]:
    """One that gives this lease by a card of a namespace; yields the file of the leases that were given.

    ``folder`` is for its files, and made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    leases, errors = folder / "leases", folder / "errors"
    own = ipaddress.ip_interface(lease.address)
    routes = ",".join(f"{network},{lease.router}" for network in lease.routes)
    command = [
        *(*space.prefix, str(DNSMASQ), "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"),
        *(f"--pid-file={folder / 'pid'}", f"--dhcp-leasefile={leases}", f"--interface={card}", "--bind-interfaces"),
        *("--dhcp-authoritative", "--no-ping", f"--dhcp-range={own.ip},{own.ip},{own.network.netmask},1h"),
        *(f"--dhcp-host={lease.mac},{own.ip},{lease.hostname}", f"--dhcp-option=option:router,{lease.router}"),
        *(f"--dhcp-option=option:dns-server,{lease.names}", f"--dhcp-option-force=28,{lease.broadcast}"),
        *((f"--dhcp-option-force=option:classless-static-route,{routes}",) if routes else ()),
    ]
    quiet = subprocess.DEVNULL
    with (
        errors.open("wb") as said,
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=said, start_new_session=True) as process,
    ):
        try:
            started = eventually(lambda: process.poll() is not None or (folder / "pid").exists(), within=20)
            assert started, "dnsmasq does not start"
            assert process.poll() is None, f"dnsmasq has ended: {errors.read_text()}"
            yield leases
        finally:
            process.terminate()
