"""Checksums of a folder of products, and the signature over them by an ssh key.

``sha256sum -c SHA256SUMS`` checks the files, and ``ssh-keygen -Y verify -f allowed_signers -I multihomed-gateway
-n multihomed-gateway -s SHA256SUMS.sig <SHA256SUMS`` who made them, if the key in allowed_signers came by another way.
What the products are is not known here.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Final

from image.run import NAME, BuildError, need, run

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = f"{SUMS}.sig"
SIGNERS: Final = "allowed_signers"
"""The public key in the form that ssh-keygen asks for: ALLOWED SIGNERS in ssh-keygen(1)."""


def sign(folder: Path, key: Path) -> None:
    """Write SHA256SUMS, SHA256SUMS.sig and allowed_signers for the products in a folder: the files named after us.

    ``key`` is a private ssh key; one that is not there is made, without a pass phrase, and standard error says so.
    Raises BuildError.
    """
    need("ssh-keygen")
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.startswith(f"{NAME}-"))
    if not files:
        raise BuildError(f"{folder} has nothing to sign: no {NAME}-*")
    public = public_key(key)
    sums, signature = folder / SUMS, folder / SIGNATURE
    signature.unlink(missing_ok=True)  # ssh-keygen asks before it writes over one
    sums.write_text("".join(f"{digest(path)}  {path.name}\n" for path in files))
    run(["ssh-keygen", "-q", "-Y", "sign", "-n", NAME, "-f", key, sums])
    (folder / SIGNERS).write_text(f'{NAME} namespaces="{NAME}" {public}\n')


def public_key(key: Path) -> str:
    """The public half of a key, type and base64 only; a new key is made where there is none. Raises BuildError."""
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", key])
        os.chmod(key, 0o600)
        print(
            f"no key to sign with: made {key}; keep a copy of it, and give {key}.pub to who verifies",
            file=sys.stderr,
        )
    half = key.with_name(f"{key.name}.pub")
    # The key itself may have a pass phrase; then its public half lies beside it.
    words = (half.read_text() if half.exists() else run(["ssh-keygen", "-y", "-f", key])).split()
    if len(words) < 2:
        raise BuildError(f"{half} is no public key of ssh")
    return " ".join(words[:2])


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
