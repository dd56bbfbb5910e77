"""The appliance as it is given out: its disk, raw and qcow2, the list of what is in it, and signed checksums.

What a tree, a disk, a list and a signature are is known by the pieces that this puts in order.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from image import disk, sbom, sign, tree
from image.run import NAME, VERSION, BuildError


def build(out: Path, deb: Path, *, init: str, key: Path | None = None) -> Sequence[Path]:
    """Build it in ``out`` from a Debian package of ours; returns the paths of what was made, the raw disk first.

    ``init`` is one of ``image.tree``'s; ``key`` the private ssh key that signs: None makes one in ``out``, or takes
    that which is there. What an earlier build left in ``out`` goes. Raises BuildError.
    """
    if key and not key.is_file():
        raise BuildError(f"{key}, which was to sign, is not there")
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{NAME}-*"):
        old.unlink()
    raw, qcow2, packages = (out / f"{NAME}-{VERSION}.{kind}" for kind in ("raw", "qcow2", "spdx.json"))
    with tempfile.TemporaryDirectory(prefix="tree-", dir=out) as work:
        made = tree.build(Path(work), deb, init=init)
        disk.build(made, raw)
        sbom.write(made, packages)
    disk.convert(raw, qcow2)
    sign.sign(out, key or out / "signing-key")
    return raw, qcow2, packages, out / sign.SUMS, out / sign.SIGNATURE
