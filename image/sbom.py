"""What an appliance is made of, as an SPDX 2.3 document: Debian's packages, our Python packages, the boot loader.

Read from a tree alone: dpkg's status file, the copyright files, the metadata of our virtual environment. A licence is
told only where it is written in a form that machines read and every name in it is known; else it is NOASSERTION.

Sources: SPDX 2.3, clauses 6 and 7; package URLs, types deb and pypi; Debian's machine-readable copyright format 1.0.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final
from urllib.parse import quote

from image.epoch import epoch, stamp
from image.grub import LOADER
from image.layout import SPACE
from image.run import NAME, VERSION, BuildError

UNKNOWN: Final = "NOASSERTION"
VENV: Final = Path("usr/lib/multihomed-gateway")

_LICENCES: Final = {
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "artistic-2.0": "Artistic-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsd-4-clause-uc": "BSD-4-Clause-UC",
    "bsl-1.0": "BSL-1.0",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "expat": "MIT",
    "fsfap": "FSFAP",
    "fsful": "FSFUL",
    "fsfullr": "FSFULLR",
    "gfdl-1.3": "GFDL-1.3-only",
    "gfdl-1.3+": "GFDL-1.3-or-later",
    "isc": "ISC",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "openssl": "OpenSSL",
    "psf-2": "PSF-2.0",
    "python-2.0": "Python-2.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
    **{
        f"{family}-{number}{sign}": f"{family.upper()}-{number}{'' if '.' in number else '.0'}-{which}"
        for family, numbers in (("gpl", ("1", "2", "2.0", "3", "3.0")), ("lgpl", ("2", "2.0", "2.1", "3", "3.0")))
        for number in numbers
        for sign, which in (("", "only"), ("+", "or-later"))
    },
}
"""Short names of Debian's copyright format 1.0 and of Python's metadata, in small letters, and SPDX's own."""

_SPDX: Final = {name.lower(): name for name in _LICENCES.values()}
_CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
}
"""The last words of classifiers that mean one licence only; "BSD License" may be any of four."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package: ``ecosystem`` is ``deb`` or ``pypi``; ``architecture`` is empty for Python's."""

    ecosystem: str
    name: str
    version: str
    architecture: str = ""
    supplier: str = UNKNOWN
    licence: str = UNKNOWN

    @property
    def url(self) -> str:
        """Its package URL."""
        if self.ecosystem == "pypi":
            return f"pkg:pypi/{re.sub('[-_.]+', '-', self.name).lower()}@{quote(self.version, safe='')}"
        vendor = "" if self.name == NAME else "debian/"  # ours is in nobody's archive
        plain = f"{quote(self.name, safe='')}@{quote(self.version, safe='')}"
        return f"pkg:deb/{vendor}{plain}?arch={self.architecture}"


def write(tree: Path, target: Path) -> None:
    """Write the document about a tree that ``image.tree.build`` made. Raises BuildError when it is no such tree."""
    found = sorted({*debian(tree), *loader(tree), *python(tree)}, key=lambda package: package.url)
    target.write_text(json.dumps(document(found, stamp(epoch())), indent=1, ensure_ascii=False) + "\n")


def document(
    packages: Iterable[Package], created: str, *, name: str = NAME, version: str = VERSION
) -> Mapping[str, object]:
    """The SPDX document of an appliance of these packages; its namespace depends on nothing but its content."""
    entries = [_entry(package) for package in packages]
    digest = hashlib.sha256(json.dumps([version, created, entries]).encode()).hexdigest()
    appliance = {
        "SPDXID": "SPDXRef-Appliance",
        "name": f"{name}-appliance",
        "versionInfo": version,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "supplier": UNKNOWN,
        **_nothing(),
    }
    holds = (("SPDXRef-Appliance", "CONTAINS", entry["SPDXID"]) for entry in entries)
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Appliance"), *holds]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name}-{version}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(SPACE, digest)}",
        "creationInfo": {"created": created, "creators": [f"Tool: {name}-image-{version}"]},
        "packages": [appliance, *entries],
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relations
        ],
    }


def debian(tree: Path) -> Iterator[Package]:
    """The packages that dpkg has installed in a tree. Raises BuildError when there is no status file."""
    status = tree / "var/lib/dpkg/status"
    if not status.is_file():
        raise BuildError(f"{tree} is no Debian tree: it has no var/lib/dpkg/status")
    for words in _stanzas(status.read_text()):
        if words.get("Status", "").endswith(" installed"):
            name = words["Package"]
            licence = debian_licence(_text(tree, Path("usr/share/doc") / name / "copyright"))
            yield Package("deb", name, words["Version"], words["Architecture"], _supplier(words["Maintainer"]), licence)


def loader(tree: Path) -> Iterator[Package]:
    """The packages whose parts are the boot loader; dpkg knows nothing of them."""
    for line in _text(tree, LOADER / "packages").splitlines():
        name, version, architecture, maintainer = line.split("\t")
        licence = debian_licence(_text(tree, LOADER / "doc" / name / "copyright"))
        yield Package("deb", name, version, architecture, _supplier(maintainer), licence)


def python(tree: Path) -> Iterator[Package]:
    """The Python packages in our virtual environment of a tree."""
    places = [str(place) for place in (tree / VENV).glob("lib/python3*/site-packages")]
    for found in distributions(path=places):
        author = _line(_field(found, "Author") or _field(found, "Maintainer"))
        supplier = f"Person: {author}" if author else UNKNOWN
        yield Package("pypi", found.metadata["Name"], found.version, "", supplier, python_licence(found))


def debian_licence(copyright_text: str) -> str:
    """The SPDX expression of all the licences that a copyright file tells, or NOASSERTION."""
    stanzas = list(_stanzas(copyright_text))
    if not stanzas or "/copyright-format/" not in stanzas[0].get("Format", ""):
        return UNKNOWN
    names = {words["License"].strip().splitlines()[0] for words in stanzas if "Files" in words and words["License"]}
    return _all([_expression(name) for name in sorted(names)])


def python_licence(found: Distribution) -> str:
    """The SPDX expression of a Python package, or NOASSERTION."""
    told = _field(found, "License-Expression") or _field(found, "License")
    if (known := _expression(told.strip())) != UNKNOWN:
        return known
    classifiers = found.metadata.get_all("Classifier") or []
    names = [line.split(" :: ")[-1] for line in classifiers if line.startswith("License :: OSI Approved :: ")]
    return _all([_CLASSIFIERS.get(name, UNKNOWN) for name in names])


def _all(expressions: list[str]) -> str:
    """What holds when each of these does."""
    if not expressions or UNKNOWN in expressions:
        return UNKNOWN
    each = sorted(set(expressions))
    return each[0] if len(each) == 1 else " AND ".join(f"({one})" if " " in one else one for one in each)


def _expression(name: str) -> str:
    """A licence's name, or several with `or`, `and` between them, in SPDX's words; NOASSERTION if one is not known."""
    parts = re.split(r",? +(or|and) +", name, flags=re.IGNORECASE)
    known = [_SPDX.get(part.lower()) or _LICENCES.get(part.lower()) for part in parts[::2]]
    links = {part.upper() for part in parts[1::2]}
    # With both words the commas would tell what belongs together: left to people.
    if None in known or len(links) > 1:
        return UNKNOWN
    return f" {''.join(links)} ".join(str(one) for one in known)


def _entry(package: Package) -> dict[str, object]:
    words = "-".join(word for word in (package.ecosystem, package.name, package.architecture) if word)
    purl = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.url}
    return {
        # "+" may stand in a Debian name, not in an identifier, and g++ is not g--.
        "SPDXID": f"SPDXRef-{re.sub('[^A-Za-z0-9.-]', '-', words.replace('+', '.plus.'))}",
        "name": package.name,
        "versionInfo": package.version,
        "supplier": package.supplier,
        **_nothing(),
        "licenseDeclared": package.licence,
        "externalRefs": [purl],
    }


def _nothing() -> dict[str, object]:
    """What is not told of a package."""
    keys = ("downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText")
    return {"filesAnalyzed": False, **dict.fromkeys(keys, UNKNOWN)}


def _supplier(maintainer: str) -> str:
    """Debian writes `Name <address>`, SPDX `Organization: Name (address)`."""
    name, _, address = maintainer.strip().partition(" <")
    return f"Organization: {name} ({address.rstrip('>')})" if address else f"Organization: {name}"


def _stanzas(text: str) -> Iterator[Message]:
    """The paragraphs of a file of Debian's control format."""
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", text.strip()):
        if paragraph and not paragraph.isspace():
            yield HeaderParser().parsestr(paragraph + "\n")


def _text(tree: Path, name: Path) -> str:
    """A file of a tree, empty if it is not there; a link to an absolute name means one of the tree."""
    path = tree / name
    for part in (*reversed(path.parents), path):
        if part.is_symlink() and part.is_relative_to(tree) and (target := part.readlink()).is_absolute():
            return _text(tree, target.relative_to("/") / path.relative_to(part))
    return path.read_text(errors="replace") if path.is_file() else ""


def _field(found: Distribution, name: str) -> str:
    return str(found.metadata[name]) if name in found.metadata else ""


def _line(text: str) -> str:
    return " ".join(text.split())
