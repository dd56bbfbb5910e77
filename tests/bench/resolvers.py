"""The DNS forwarders that are compared, and the name server behind them, as a table like that of `servers`.

All get the same work: one zone, which is forwarded to one name server on loopback; caches that are larger than what is
asked; no validation of DNSSEC; no log of queries. One process each, on a core of its own where there are two.
"""

import os
import socket
import struct

from tests.bench.machine import cores, on_cores
from tests.bench.servers import HOST, Peer, Site, first_line, installed, sockd_program, sockd_version

ZONE = "bench.test"

CACHE = 200_000
"""Answers that each of them may keep."""

_UPSTREAM = 21053
"""The port of the name server: fixed, so that the others can be told before it runs."""

_WAITING = 1_000
"""Queries that may wait for the name server; dnsmasq would refuse more than 150."""


def server_cores(workers: int = 1) -> list[int]:
    """The first ones, as many as there are workers; the first one alone if none would be left for the load."""
    available = cores()
    return available[:workers] if len(available) > workers else available[:1]


def load_cores() -> list[int]:
    """Those behind the first two, for dnsperf and the name server; what there is where there are fewer."""
    available = cores()
    return available[2:] or available[1:] or available


def answers(port: int) -> bool:
    """Whether a query for a name of the zone gets its one answer (RFC 1035 §4.1)."""
    name = b"".join(bytes([len(label)]) + label for label in f"ready.{ZONE}".encode().split(b"."))
    query = struct.pack("!6H", 0x4242, 0x0100, 1, 0, 0, 0) + name + b"\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        try:
            client.connect((HOST, port))
            client.send(query)
            reply = client.recv(512)
        except OSError:
            return False
    return len(reply) > 12 and reply[:2] == query[:2] and not reply[3] & 15 and reply[6:8] == b"\0\1"


# ----------------------------------------------------------------------------------------------------------------- nsd

_NSD_CONF = """\
server:
  ip-address: {host}@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: ""
  zonelistfile: "{folder}/zone.list"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: zone
"""

#: Every name exists. The addresses are those of benchmarks (RFC 2544), which no guard takes for inside ones.
_ZONE_FILE = """\
$ORIGIN {zone}.
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
* A 198.18.0.1
"""


def _nsd(site: Site) -> list[str]:
    conf = site.folder / "nsd.conf"
    conf.write_text(_NSD_CONF.format(host=HOST, port=site.port, folder=site.folder, zone=ZONE))
    (site.folder / "zone").write_text(_ZONE_FILE.format(zone=ZONE))
    return on_cores(load_cores(), [installed("nsd"), "-d", "-c", str(conf)])


def _nsd_version() -> str:
    return first_line([installed("nsd"), "-v"])


NAME_SERVER = Peer("nsd", "nsd", "authoritative for every name of the zone", _nsd_version, _nsd, answers, _UPSTREAM)


# ------------------------------------------------------------------------------------------------------------- dnsmasq


def _dnsmasq_version() -> str:
    return first_line([installed("dnsmasq"), "--version"]).partition("  ")[0]  # the copyright stands behind


def _dnsmasq(site: Site) -> list[str]:
    command = [
        *(installed("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file="),
        *(f"--listen-address={HOST}", "--bind-interfaces", f"--port={site.port}"),
        *("--no-resolv", "--no-hosts", "--log-facility=-", f"--server=/{ZONE}/{HOST}#{_UPSTREAM}"),
        *(f"--cache-size={CACHE}", f"--dns-forward-max={_WAITING}"),
        *(["--user=root"] if os.geteuid() == 0 else []),
    ]
    return on_cores(server_cores(), command)


# ------------------------------------------------------------------------------------------------------------- unbound

_UNBOUND_CONF = """\
server:
  num-threads: 1
  interface: {host}
  port: {port}
  access-control: 127.0.0.0/8 allow
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 0
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  msg-cache-size: 256m
  rrset-cache-size: 256m
remote-control:
  control-enable: no
forward-zone:
  name: "{zone}"
  forward-addr: {host}@{upstream}
"""


def _unbound_version() -> str:
    return "unbound " + first_line([installed("unbound"), "-V"]).removeprefix("Version ")


def _unbound(site: Site) -> list[str]:
    conf = site.folder / "unbound.conf"
    conf.write_text(_UNBOUND_CONF.format(host=HOST, port=site.port, folder=site.folder, zone=ZONE, upstream=_UPSTREAM))
    return on_cores(server_cores(), [installed("unbound"), "-d", "-c", str(conf)])


# --------------------------------------------------------------------------------------------------------------- sockd

_GATEWAY_TOML = """\
[internal]
addresses = ["127.0.0.1"]
port = {proxy_port}

[external]
policy_routing = false

[files]
access = "{folder}/sockd.conf"

[sockd]
workers = 1

[control]
socket = "{folder}/control.sock"

[log]
classic = "{folder}/sockd.log"
json = "{folder}/sockd.json"

[resolver]
addresses = ["127.0.0.1"]
port = {port}
workers = {workers}
clients = ["127.0.0.0/8"]
cache = {cache}

[[resolver.zone]]
name = "{zone}"
servers = ["127.0.0.1 {upstream}"]
private = false
"""


def _proxy_port() -> int:
    """For the proxy that nobody asks anything: any that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def sockd(workers: int = 1, name: str = "sockd") -> Peer:
    """Our daemon, with so many processes that answer."""

    def prepare(site: Site) -> list[str]:
        toml = site.folder / "gateway.toml"
        toml.write_text(
            _GATEWAY_TOML.format(
                folder=site.folder,
                port=site.port,
                proxy_port=_proxy_port(),
                workers=workers,
                cache=CACHE,
                zone=ZONE,
                upstream=_UPSTREAM,
            )
        )
        (site.folder / "sockd.conf").write_text("permit 127.0.0.0 255.0.0.0 127.0.0.0 255.0.0.0\n")
        return on_cores(server_cores(workers), [sockd_program(), "-d", "-f", str(toml)])

    settings = f"{workers} resolver process{'es' if workers > 1 else ''}, {CACHE:,} answers, failures are logged"
    return Peer(name, None, settings, sockd_version, prepare, answers)


PEERS = (
    Peer(
        "dnsmasq",
        "dnsmasq",
        f"cache of {CACHE:,} names, whose memory is taken at the start; {_WAITING:,} queries may wait",
        _dnsmasq_version,
        _dnsmasq,
        answers,
    ),
    Peer(
        "unbound",
        "unbound",
        "one thread, iterator without validator, caches of 256 MB each",
        _unbound_version,
        _unbound,
        answers,
    ),
    sockd(),
)
"""In the order of the table's columns."""
