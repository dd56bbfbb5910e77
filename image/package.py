"""The Debian package: the gateway in a virtual environment of its own, with all that an installed system has of it.

The Python packages are fetched and built into wheels first, as pip resolves them within the lower bounds of
pyproject.toml; then debhelper makes the package from them by image/debian/rules, without a network. It fits the Python
that it was built with, which therefore is the distribution's own. Nothing here knows of images, boxes or Ansible.
"""

import os
import re
import shutil
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from email.utils import format_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from image.epoch import epoch
from image.run import NAME, ROOT, VERSION, BuildError, need, run

PYTHON: Final = Path("/usr/bin/python3")
"""The distribution's; the package depends on its minor version."""

PARTS: Final = ("gateway", "ansible", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
"""What is copied from the repository; ansible may be missing."""

PACKAGING: Final = Path("image", "debian")

BOOT: Final[Mapping[str, str]] = MappingProxyType(
    {name: f"{NAME}.sockd.{name.removeprefix('sockd.')}" for name in ("sockd.service", "sockd.init", "sockd.default")}
)
"""Files of gateway/boot, and the names by which debhelper knows what they are (dh_installinit(1))."""

WHERE: Final = "/usr/lib/multihomed-gateway"
"""The virtual environment, in the package."""

MODULE: Final = NAME.replace("-", "_")
"""The beginning of the name of our own wheel."""

_LEFT_OUT: Final = ("__pycache__", "*.pyc", ".*")


def build(out: Path, *, version: str = VERSION) -> Path:
    """Make the package in the folder ``out``, by way of ``out``/work, and return its path.

    ``version`` is the package's and also what its programs say. Needs the Python index for the dependencies. Raises
    BuildError.
    """
    minor = see_tools()
    work = out.resolve() / "work"
    shutil.rmtree(work, ignore_errors=True)
    source = work / f"{NAME}-{version}"
    moment = epoch()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(moment), "LC_ALL": "C.UTF-8"}
    _copy(source, version)
    _make_wheels(source, environment)
    _lay_packaging(source, version, moment, minor)
    run(["dpkg-buildpackage", "--build=binary", "--no-sign"], cwd=source, env=environment)
    architecture = run(["dpkg", "--print-architecture"]).strip()
    made = work / f"{NAME}_{version}_{architecture}.deb"
    return made.replace(out.resolve() / made.name)


def inputs() -> list[Path]:
    """The files that the package is made of, and this one; sorted."""
    tops = [ROOT / name for name in (*PARTS, str(PACKAGING))]
    below = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file() and not _is_left_out(path)]
    return sorted({*below, Path(__file__).resolve()})


def see_tools() -> str:
    """See that a package can be built here; the version of Python that it will be for. Raises BuildError."""
    need("dpkg-buildpackage", "dh")
    return see_python(PYTHON)


def see_python(python: Path) -> str:
    """See that this Python can be what the package depends on; its version, such as 3.11. Raises BuildError."""
    if not python.exists():
        raise BuildError(f"{python} is not there; as root: apt-get install python3 python3-venv")
    minor, prefix, has_venv = run([python, "-c", _LOOK]).split()
    if prefix != "/usr":
        raise BuildError(f"{python} is of {prefix}, not the distribution's, and the package would depend on that one")
    if tuple(map(int, minor.split("."))) < (3, 11):
        raise BuildError(f"{python} is {minor}, and the gateway needs 3.11; build on Debian 12 or newer")
    if has_venv != "True":
        raise BuildError(f"{python} makes no virtual environments; as root: apt-get install python3-venv")
    return minor


_LOOK = (
    "import sys, importlib.util as util; "
    "print('%d.%d' % sys.version_info[:2], sys.base_prefix, util.find_spec('ensurepip') is not None)"
)


def changelog(version: str, maintainer: str, moment: int) -> str:
    """A deb-changelog(5) of one entry, of so many seconds since 1970; what has changed stands in CHANGELOG.md."""
    return (
        f"{NAME} ({version}) stable; urgency=medium\n\n"
        f"  * Version {version}; CHANGELOG.md beside this file says what is new.\n\n"
        f" -- {maintainer}  {format_datetime(datetime.fromtimestamp(moment, UTC))}\n"
    )


def copyright_text(licence: str, wheels: Sequence[Path], packages: str) -> str:
    """Whose everything in the package is: our licence, and that of each wheel of others by its own metadata.

    ``packages`` is the folder in which an installed system has them.
    """
    others = "\n\n".join(_terms(wheel, packages) for wheel in sorted(wheels))
    return f"{NAME}:\n\n{textwrap.indent(licence.strip(), '  ')}\n\n{_OTHERS}\n\n{others}\n"


_OTHERS = """\
The same package has these Python packages of others, with their code as they publish it and with the texts that are
named here. The GNU General Public License and the Apache License are in /usr/share/common-licenses too."""
_TEXT = re.compile(r"[^/]+\.dist-info/(licen[sc]es/)?(LICEN[SC]E|COPYING|NOTICE|AUTHORS)[^/]*", re.IGNORECASE)
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")


def _terms(wheel: Path, packages: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(archive.namelist())
        metadata = HeaderParser().parsestr(
            "".join(archive.read(name).decode() for name in names if _METADATA.fullmatch(name))
        )
    texts = [f"  {packages}/{name}" for name in names if _TEXT.fullmatch(name)]
    return "\n".join([f"{metadata['Name']} {metadata['Version']}: {_licence(metadata)}", *texts])


def _licence(metadata: Message) -> str:
    """Its licence in few words, as its authors declare it; some put the whole text there."""
    said = str(metadata["License-Expression"] or metadata["License"] or "UNKNOWN")
    kinds = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    if "\n" not in said and said != "UNKNOWN":
        return said
    return " or ".join(kinds) or "as its texts say"


def _is_left_out(path: Path) -> bool:
    return any(Path(part).match(pattern) for part in path.relative_to(ROOT).parts for pattern in _LEFT_OUT)


def _copy(source: Path, version: str) -> None:
    leave_out = shutil.ignore_patterns(*_LEFT_OUT)
    source.mkdir(parents=True)
    for part in (ROOT / name for name in PARTS):
        if part.is_dir():
            shutil.copytree(part, source / part.name, ignore=leave_out, symlinks=True)
        elif part.exists():
            shutil.copy2(part, source / part.name)
    shutil.copytree(ROOT / PACKAGING, source / "debian", ignore=leave_out)
    said = source / "gateway" / "__init__.py"
    said.write_text(said.read_text().replace(f'__version__ = "{VERSION}"', f'__version__ = "{version}"'))


def _make_wheels(source: Path, environment: Mapping[str, str]) -> None:
    pip = source.parent / "pip"
    run([PYTHON, "-m", "venv", pip])
    command = [str(pip / "bin" / "python3"), "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    run([*command, "--wheel-dir", str(source / "wheels"), str(source)], env=environment)


def _lay_packaging(source: Path, version: str, moment: int, minor: str) -> None:
    debian = source / "debian"
    for name, known_as in BOOT.items():
        shutil.copy2(source / "gateway" / "boot" / name, debian / known_as)
    maintainer = HeaderParser().parsestr((debian / "control").read_text())["Maintainer"]
    (debian / "changelog").write_text(changelog(version, maintainer, moment))
    others = [wheel for wheel in (source / "wheels").glob("*.whl") if not wheel.name.startswith(f"{MODULE}-")]
    licence = (source / "LICENSE").read_text()
    (debian / "copyright").write_text(copyright_text(licence, others, f"{WHERE}/lib/python{minor}/site-packages"))
