"""DNSSEC through a resolver: who validates, delv(1) and dnsviz(1) as others wrote them, gets all that it needs.

The resolver itself validates nothing (``spec/field-cases.md`` D6): it passes DO, CD and the records on. Each test is
run against the name server itself, too, so that a failure is not that of the signed zones.
"""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.lab.servers import name_server, needs_lab
from tests.support.lab.topology import NameServer
from tests.support.netns import Namespace, namespace
from tests.support.resolvers import DNSMASQ, LOOPBACK, RESOLVERS
from tests.support.signedzone import WEB, missing, signed_world

DNSVIZ = shutil.which("dnsviz") or "dnsviz"
LACKING = [name for name in ("delv", DNSVIZ) if shutil.which(name) is None] + missing()
#: dnsviz is Debian's, and so are the modules that it imports
PYTHON = "/usr/bin/python3"
pytestmark = [
    needs_lab,
    pytest.mark.skipif(
        bool(LACKING),
        reason="needs other validators: apt-get install bind9-dnsutils dnsviz python3-pygraphviz ldnsutils",
    ),
]
SERVER = "127.0.0.53"

# Debian 12's dnsviz asks pygraphviz for its version in a way that Debian 12's pygraphviz does not know any more.
_GROK = """\
import runpy, sys, types, pygraphviz
pygraphviz.release = types.SimpleNamespace(version=pygraphviz.__version__)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Validators(NamedTuple):
    """Programs that ask one resolver, and trust the root's key of the signed world."""

    space: Namespace
    resolver: str
    #: the key as delv(1) wants it, and as the others do
    delv_anchors: Path
    anchor: Path

    def delv(self, *words: str) -> str:
        """What delv says of a question."""
        command = ["delv", f"@{self.resolver}", "-a", str(self.delv_anchors), "+root=.", *words]
        done = subprocess.run([*self.space.prefix, *command], capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr

    def dnsviz(self, name: str) -> "Findings":
        """What dnsviz makes of a name and of the zones above it."""
        probe = [*self.space.prefix, "dnsviz", "probe", "-4", "-s", f"{self.resolver}:53", name]
        grok = [PYTHON, "-c", _GROK, DNSVIZ, "grok", "-t", str(self.anchor), "-l", "info"]
        probed = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=60)
        grokked = subprocess.run(grok, input=probed.stdout, capture_output=True, text=True, check=False, timeout=60)
        assert grokked.returncode == 0, probed.stderr + grokked.stderr
        return Findings(json.loads(grokked.stdout))


class Findings:
    """The report of dnsviz."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report

    def complaints(self) -> set[str]:
        """The codes of all errors and warnings."""
        return {
            item["code"]
            for held in _tables(self.report)
            for kind in ("errors", "warnings")
            for item in held.get(kind, ())
        }

    def statuses(self, zone: str) -> set[str]:
        """What it says of the records of a zone."""
        answers = (item for held in _tables(self.report[zone]) for item in held.get("answer", ()))
        return {item["status"] for item in answers}


def _tables(value: object) -> Iterator[dict[str, Any]]:
    """Every table in a tree of JSON."""
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _tables(below)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, Path]]:
    """A namespace with the name server of the signed world, and a folder with the root's key."""
    folder = tmp_path_factory.mktemp("signed")
    world = signed_world(folder, SERVER)
    (folder / "anchors.delv").write_text(world.delv_anchors())
    (folder / "anchors.zone").write_text(f"{world.anchor}\n")
    with namespace(label="signed") as space, name_server(NameServer((SERVER,), world.zones), space, folder / "nsd"):
        yield space, folder


@pytest.fixture(scope="module", params=RESOLVERS)
def validators(
    served: tuple[Namespace, Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Validators]:
    if request.param == "dnsmasq" and DNSMASQ is None:
        pytest.skip("needs dnsmasq: apt-get install dnsmasq-base")
    space, folder = served
    with contextlib.ExitStack() as stack:
        resolver = RESOLVERS[request.param](space, tmp_path_factory.mktemp(request.param), SERVER, LOOPBACK)
        address = stack.enter_context(resolver)
        yield Validators(space, address, folder / "anchors.delv", folder / "anchors.zone")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        pytest.param(("www.signed", "A"), rf"(?s); fully validated\n.*^www\.signed\..*{WEB}", id="a signed address"),
        pytest.param(("www.signed", "TXT"), r"(?s); fully validated\n.*as it was signed", id="a signed text"),
        pytest.param(("alias.signed", "A"), rf"(?s); fully validated\n.*CNAME.*{WEB}", id="a signed alias"),
        pytest.param(("a.b.star.signed", "A"), rf"(?s); fully validated\n.*{WEB}", id="a signed wildcard"),
        pytest.param(("signed", "DNSKEY"), "; fully validated", id="a key"),
        pytest.param(("signed", "DS"), "; fully validated", id="what the parent says of a key"),
        pytest.param(("nowhere.signed", "A"), r"fully validated(?s:.*)ncache nxdomain", id="no such name"),
        pytest.param(("www.signed", "MX"), r"fully validated(?s:.*)ncache nxrrset", id="no such type"),
        pytest.param(("www.nowhere", "A"), "negative response, fully validated", id="no such zone, by the root"),
        pytest.param(("www.unsigned", "A"), rf"(?s); unsigned answer\n.*{WEB}", id="an unsigned zone"),
        pytest.param(("www.bogus", "A"), "resolution failed: RRSIG failed to verify", id="a forged address"),
        pytest.param(("+cd", "www.bogus", "TXT"), "fully validated", id="what is not forged beside it"),
    ],
)
def test_delv_validates(validators: Validators, words: tuple[str, ...], wanted: str) -> None:
    said = validators.delv(*words)
    assert re.search(wanted, said, re.MULTILINE), said


@pytest.mark.parametrize("name", ["www.signed.", "nowhere.signed."])
def test_dnsviz_finds_nothing_wrong(validators: Validators, name: str) -> None:
    found = validators.dnsviz(name)
    expected = {"RECURSION_NOT_AVAILABLE"} if validators.resolver == SERVER else set()
    assert found.complaints() == expected, found.report
    assert found.statuses(".") == found.statuses("signed.") == {"SECURE"}


def test_dnsviz_sees_what_is_forged(validators: Validators) -> None:
    found = validators.dnsviz("www.bogus.")
    assert "SIGNATURE_INVALID" in found.complaints()
    assert "BOGUS" in found.statuses("www.bogus.")
