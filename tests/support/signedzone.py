"""A little DNSSEC world, signed by Debian's ldnsutils: a root, and zones below it that are signed, unsigned, or forged.

It is an `nsd`'s to serve; whoever trusts the root's key can validate it, by whatever resolver the answers come.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TOOLS = ("ldns-keygen", "ldns-signzone")
SIGNED, UNSIGNED, BOGUS = "signed", "unsigned", "bogus"
"""The zones; each has ``www``, and the first two ``alias`` and ``*.star`` too."""
WEB, FORGED = "203.0.113.10", "203.0.113.66"
#: ECDSA with P-256: short signatures (RFC 6605)
_ALGORITHM = "ECDSAP256SHA256"

_HEAD = """\
$TTL 300
@     SOA   ns.signed. hostmaster.signed. 1 3600 600 86400 60
      NS    ns.signed.
"""
_ZONE = f'{_HEAD}www   A     {WEB}\nwww   TXT   "as it was signed"\nalias CNAME www\n*.star A    {WEB}\n'


class SignedWorld(NamedTuple):
    """The zones by their names, as master files; and the root's key, a DNSKEY record in one line."""

    zones: tuple[tuple[str, str], ...]
    anchor: str

    def delv_anchors(self) -> str:
        """The key as delv(1) reads it from the file of its option -a."""
        owner, _, _, flags, protocol, algorithm, key = self.anchor.split()
        return f'trust-anchors {{ {owner} static-key {flags} {protocol} {algorithm} "{key}"; }};\n'


def missing() -> list[str]:
    """The programs that are not here."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def signed_world(folder: Path, address: str) -> SignedWorld:
    """Make keys and sign everything; ``folder`` is there, and for its files. ``address`` is that of the name server."""
    signed = _sign(folder, SIGNED, f"{_ZONE}ns A {address}\n", "-n")
    bogus = _sign(folder, BOGUS, _ZONE)
    below = {SIGNED: signed.ds, BOGUS: bogus.ds, UNSIGNED: ""}
    root = _sign(folder, ".", f"{_HEAD}ns.signed. A {address}\n{_delegations(below)}")
    zones = {
        ".": root.text,
        SIGNED: signed.text,
        UNSIGNED: _ZONE,
        # after it was signed
        BOGUS: bogus.text.replace(WEB, FORGED),
    }
    return SignedWorld(tuple(zones.items()), root.key)


def _delegations(below: Mapping[str, str]) -> str:
    return "".join(f"{zone}. NS ns.signed.\n{ds}" for zone, ds in below.items())


class _Signed(NamedTuple):
    text: str
    key: str
    ds: str


def _sign(folder: Path, zone: str, text: str, *options: str) -> _Signed:
    """One zone with one key; ``options`` are those of ldns-signzone(1)."""
    # a validator takes a signature of this very second for one of a clock that is wrong
    inception = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - 3600))
    name = _run(folder, "ldns-keygen", "-k", "-a", _ALGORITHM, zone).strip()
    plain, signed = folder / f"{zone.strip('.') or 'root'}.plain", folder / f"{zone.strip('.') or 'root'}.signed"
    plain.write_text(text)
    _run(folder, "ldns-signzone", "-o", zone, "-f", signed.name, "-i", inception, *options, plain.name, name)
    key, ds = (next(folder.glob(f"{name}.{kind}")).read_text() for kind in ("key", "ds"))
    return _Signed(signed.read_text(), key.partition(";")[0].strip(), ds)


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
