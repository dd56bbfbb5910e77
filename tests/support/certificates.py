"""Certificates for TLS servers of tests, made by openssl(1): each signs itself, and so is what its clients trust."""

import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

OPENSSL = shutil.which("openssl")


class Certificate(NamedTuple):
    """Files in PEM: the certificate, which is also its own authority, and its key."""

    chain: Path
    key: Path


def certificate(folder: Path, *names: str) -> Certificate:
    """A new one for these names or addresses, valid for two days, in a folder that is there."""
    made = Certificate(folder / f"{names[0]}.pem", folder / f"{names[0]}.key")
    command: Sequence[str] = (
        *(str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={','.join(map(_alternative, names))}"),
        *("-keyout", str(made.key), "-out", str(made.chain)),
    )
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
