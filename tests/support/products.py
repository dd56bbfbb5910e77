"""What is built once for all tests: the Debian package.

It is made when it is missing, or when what it is made of has changed. It is kept in build/deb beside a sum of all that
went into it, so it does not matter when a file was touched.
"""

import fcntl
import hashlib
from pathlib import Path

from image import package
from image.run import NAME, ROOT, BuildError

DEBS = ROOT / "build" / "deb"


def missing() -> str:
    """Why no package can be built here, with the way out of it; empty when nothing is known to be missing."""
    try:
        package.see_tools()
    except BuildError as error:
        return f"needs what a Debian package is built with: {error}"
    return ""


def deb() -> Path:
    """The package of the tree as it is now. Raises BuildError."""
    DEBS.mkdir(parents=True, exist_ok=True)
    with open(DEBS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it now
        wanted = _sum(package.inputs())
        note = DEBS / "made-of"
        made = sorted(DEBS.glob(f"{NAME}_*.deb"))
        if len(made) == 1 and note.exists() and note.read_text() == f"{made[0].name} {wanted}\n":
            return made[0]
        new = package.build(DEBS)  # takes the place of the old one at once, which another run may be reading
        note.write_text(f"{new.name} {wanted}\n")
        for old in made:
            if old != new:
                old.unlink()
        return new


def _sum(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        whole.update(f"{path.relative_to(ROOT)} {path.stat().st_mode:o} {len(content)}\n".encode() + content)
    return whole.hexdigest()
