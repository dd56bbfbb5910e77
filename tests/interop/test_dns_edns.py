"""The questions of the DNS flag days, as Debian's dig, kdig and drill ask them, and answers as RFC 6891 wants them.

They are those of ISC's compliance test, with RD, since this is a recursive server to those who ask it.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import dns.flags
import pytest

from tests.support.dnsgateway import CLIENT, LISTENS, extended_error, rcode, records
from tests.support.lying.habits import Code, Flags, Many, ede
from tests.support.lying.message import AD, CD, SERVFAIL
from tests.support.lying.sending import on
from tests.support.splitworld import SplitWorld, split_world

NAME, DATA = "www.example", "198.51.100.1"
MANY = "large.many.example"


class Said(NamedTuple):
    """What a program says of an answer, the same for all programs."""

    rcode: str
    flags: frozenset[str]
    #: None: there is no OPT record
    version: int | None
    edns_flags: frozenset[str]
    payload: int
    addresses: int
    #: all of it
    text: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    with split_world(tmp_path_factory.mktemp("edns")) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


Ask = Callable[..., Said]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _words(text: str | None) -> frozenset[str]:
    return frozenset((text or "").lower().split())


def _said(text: str, status: str, flags: str, edns: str) -> Said:
    """Put together what these patterns find; that of EDNS has the version, the flags and the size."""
    found = re.search(edns, text)
    wanted = re.search(status, text), re.search(flags, text)
    assert all(wanted), text
    rcode, words = (match[1] for match in wanted if match)
    addresses = len(re.findall(r"^\S+\s+\d+\s+IN\s+A\s", text, re.MULTILINE))
    if found is None:
        return Said(rcode, _words(words), None, frozenset(), 0, addresses, text)
    return Said(rcode, _words(words), int(found[1]), _words(found[2]), int(found[3]), addresses, text)


def _dig(port: int, *words: str) -> Said:
    text = _run("dig", f"@{LISTENS}", "-p", str(port), "-b", CLIENT, "+tries=1", "+time=10", "+nocookie", *words)
    assert "WARNING" not in text.replace("WARNING: recursion requested but not available", ""), text
    return _said(
        text, r"status: (\w+)", r";; flags:([^;]*);", r"; EDNS: version: (\d+), flags:([^;]*); udp: (\d+)"
    )  # "MBZ" with its bits stands among the flags


def _kdig(port: int, *words: str) -> Said:
    text = _run("kdig", f"@{LISTENS}", "-p", str(port), "-b", CLIENT, "+retry=0", "+time=10", *words)
    assert "WARNING" not in text, text
    edns = r";; Version: (\d+); flags:([^;]*); UDP size: (\d+) B"
    said = _said(text, r"status: (\w+)", r";; Flags:([^;]*);", edns)
    extended = re.search(r"ext-rcode: (\w+)", text)
    return said if extended is None or extended[1] == "NOERROR" else said._replace(rcode=extended[1])


def _drill(port: int, *words: str) -> Said:
    text = _run("drill", "-p", str(port), "-I", CLIENT, *words, f"@{LISTENS}")
    return _said(text, r"rcode: (\w+)", r";; flags:([^;]*);", r";; EDNS: version (\d+); flags:([^;]*); udp: (\d+)")


def _needs(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}: apt-get install {package}")


needs_dig = _needs("dig", "bind9-dnsutils")
needs_kdig = _needs("kdig", "knot-dnsutils")
needs_drill = _needs("drill", "ldnsutils")


def _is_good(said: Said) -> bool:
    return said.rcode == "NOERROR" and DATA in said.text and {"qr", "rd", "ra"} <= said.flags


# --- with dig


@needs_dig
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
class TestDig:
    """Each of them twice: the second answer comes from the cache."""

    @pytest.fixture
    def ask(self, world: SplitWorld, transport: str) -> Ask:
        def twice(*words: str, kind: str = "A") -> Said:
            first, second = (_dig(world.gateway.port, transport, *words, NAME, kind) for _ in range(2))
            assert first._replace(text="") == second._replace(text="")
            return second

        return twice

    def test_plain_dns(self, ask: Ask) -> None:
        said = ask("+noedns")
        assert _is_good(said)
        assert said.version is None

    def test_edns_0(self, ask: Ask) -> None:
        said = ask("+edns=0")
        assert _is_good(said)
        assert (said.version, said.edns_flags, said.payload) == (0, frozenset(), 1232)

    @pytest.mark.parametrize("version", [1, 2, 255])
    def test_another_version(self, ask: Ask, version: int) -> None:
        """BADVERS with the highest version that there is, and no records (RFC 6891 §6.1.3)."""
        said = ask(f"+edns={version}", "+noednsneg")
        assert (said.rcode, said.version, said.payload, said.addresses) == ("BADVERS", 0, 1232, 0)

    def test_another_version_is_negotiated(self, ask: Ask) -> None:
        """dig comes back with version 0 by itself."""
        assert _is_good(ask("+edns=1", "+ednsneg"))

    def test_an_unknown_option(self, ask: Ask) -> None:
        """Ignored, and not sent back (RFC 6891 §6.1.2)."""
        said = ask("+edns=0", "+ednsopt=100")
        assert _is_good(said)
        assert "OPT=100" not in said.text

    def test_an_unknown_option_of_another_version(self, ask: Ask) -> None:
        said = ask("+edns=1", "+noednsneg", "+ednsopt=100:f00d")
        assert (said.rcode, said.version, said.addresses) == ("BADVERS", 0, 0)
        assert "OPT=100" not in said.text

    @pytest.mark.parametrize("flags", ["0x80", "0x4000", "0x7fff"])
    def test_unknown_flags(self, ask: Ask, flags: str) -> None:
        """Ignored, and zero in the answer (RFC 6891 §6.1.4)."""
        said = ask("+edns=0", f"+ednsflags={flags}")
        assert _is_good(said)
        assert (said.version, said.edns_flags) == (0, frozenset())

    def test_unknown_flags_of_another_version(self, ask: Ask) -> None:
        said = ask("+edns=1", "+noednsneg", "+ednsflags=0x80")
        assert (said.rcode, said.version, said.edns_flags) == ("BADVERS", 0, frozenset())

    def test_dnssec(self, ask: Ask) -> None:
        """DO comes back (RFC 3225 §3)."""
        said = ask("+dnssec")
        assert _is_good(said)
        assert said.edns_flags == {"do"}

    def test_dnssec_of_another_version(self, ask: Ask) -> None:
        said = ask("+edns=1", "+noednsneg", "+dnssec")
        assert (said.rcode, said.version) == ("BADVERS", 0)

    @pytest.mark.parametrize("size", [512, 1232, 4096])
    def test_a_size(self, ask: Ask, size: int) -> None:
        assert _is_good(ask("+dnssec", f"+bufsize={size}"))

    def test_a_cookie(self, ask: Ask) -> None:
        """A server without cookies does as if there were none (RFC 7873 §5.2.1)."""
        for cookie in ("+cookie", "+cookie=0123456789abcdef0123456789abcdef"):
            said = ask(cookie)
            assert _is_good(said)
            assert "; COOKIE:" not in said.text

    def test_all_options_at_once(self, ask: Ask) -> None:
        said = ask("+nsid", "+subnet=198.51.100.0/24", "+expire", "+cookie", "+keepalive", "+padding=128")
        assert _is_good(said)
        assert not re.search(r"^; (NSID|CLIENT-SUBNET|COOKIE|EXPIRE|PAD)", said.text, re.MULTILINE)

    def test_the_z_bit(self, ask: Ask) -> None:
        """Zero in the answer (RFC 1035 §4.1.1)."""
        said = ask("+zflag")
        assert _is_good(said)
        assert "MBZ" not in said.text

    def test_another_opcode(self, ask: Ask) -> None:
        said = ask("+opcode=15")
        assert (said.rcode, said.version) == ("NOTIMP", 0)

    def test_an_unknown_type(self, ask: Ask) -> None:
        said = ask(kind="TYPE65432")
        assert (said.rcode, said.version) == ("NOERROR", 0)

    @pytest.mark.parametrize("klass", ["CH", "HS", "CLASS65280"])
    def test_another_class(self, ask: Ask, klass: str) -> None:
        said = ask("-c", klass)
        assert (said.rcode, said.version) == ("REFUSED", 0)

    def test_authentic_data(self, ask: Ask, world: SplitWorld) -> None:
        assert "ad" not in ask("+adflag").flags
        world.gateway.flush()
        world.outside.obey(on(Flags(set=AD)))
        assert "ad" in ask("+adflag").flags
        assert "ad" not in ask("+noadflag").flags

    def test_checking_disabled(self, ask: Ask, world: SplitWorld) -> None:
        said = ask("+cdflag")
        assert _is_good(said)
        assert "cd" in said.flags
        assert all(one.message.flags & dns.flags.CD for one in world.outside.heard(NAME))


@needs_dig
@pytest.mark.parametrize("edns", ["+noedns", "+edns=0", "+dnssec", "+bufsize=512"])
def test_what_is_cut_off_says_so_with_edns(world: SplitWorld, edns: str) -> None:
    """TC, and the OPT record is there (RFC 6891 §7); dig then asks by TCP, and has all."""
    world.outside.obey(on(Many(200), name=MANY))
    said = _dig(world.gateway.port, edns, "+ignore", MANY, "A")
    assert (said.rcode, said.version) == ("NOERROR", None if edns == "+noedns" else 0)
    assert "tc" in said.flags
    assert said.addresses < 80
    said = _dig(world.gateway.port, edns, MANY, "A")
    assert ("tc" in said.flags, said.addresses) == (False, 200)


# --- with kdig


@needs_kdig
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("words", "version", "edns_flags"),
    [
        pytest.param(("+noedns",), None, "", id="plain"),
        pytest.param(("+edns=0",), 0, "", id="EDNS"),
        pytest.param(("+dnssec",), 0, "do", id="DO"),
        pytest.param(("+dnssec", "+bufsize=512"), 0, "do", id="a size"),
        pytest.param(("+nsid",), 0, "", id="NSID"),
        pytest.param(("+subnet=198.51.100.0/24",), 0, "", id="a client subnet"),
        pytest.param(("+cookie",), 0, "", id="a cookie"),
        pytest.param(("+padding=300",), 0, "", id="padding"),
        pytest.param(("+ednsopt=65001:f00d",), 0, "", id="an unknown option"),
        pytest.param(("+adflag", "+zflag"), None, "", id="flags"),
    ],
)  # fmt: skip
def test_kdig(world: SplitWorld, words: tuple[str, ...], version: int | None, edns_flags: str, transport: str) -> None:
    said = _kdig(world.gateway.port, transport, *words, NAME, "A")
    assert _is_good(said)
    assert (said.version, said.edns_flags) == (version, _words(edns_flags))
    assert not re.search(r"^;; (NSID|CLIENT-SUBNET|COOKIE|PADDING|Option)", said.text, re.MULTILINE), said.text
    for heard in world.outside.heard():
        assert heard.message.options == ()


@needs_kdig
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_kdig_with_another_version(world: SplitWorld, transport: str) -> None:
    said = _kdig(world.gateway.port, transport, "+edns=1", NAME, "A")
    assert (said.rcode, said.version, said.addresses) == ("BADVERS", 0, 0)


@needs_kdig
def test_kdig_goes_on_by_tcp(world: SplitWorld) -> None:
    world.outside.obey(on(Many(200), name=MANY))
    assert _kdig(world.gateway.port, "+edns", MANY, "A").addresses == 200


# --- with drill


@needs_drill
@pytest.mark.parametrize("transport", ["-u", "-t"])
@pytest.mark.parametrize(
    ("words", "version", "edns_flags"),
    [
        pytest.param((), None, "", id="plain"),
        pytest.param(("-b", "4096"), 0, "", id="EDNS"),
        pytest.param(("-D",), 0, "do", id="DO"),
        pytest.param(("-D", "-o", "CD"), 0, "do", id="DO and CD"),
    ],
)
def test_drill(world: SplitWorld, words: tuple[str, ...], version: int | None, edns_flags: str, transport: str) -> None:
    said = _drill(world.gateway.port, transport, *words, NAME)
    assert _is_good(said)
    assert (said.version, said.edns_flags) == (version, _words(edns_flags))


@needs_drill
def test_drill_sees_what_is_cut_off(world: SplitWorld) -> None:
    world.outside.obey(on(Many(200), name=MANY))
    said = _drill(world.gateway.port, "-b", "4096", MANY)
    assert "tc" in said.flags
    assert said.addresses < 80
    assert _drill(world.gateway.port, "-t", MANY).addresses == 200


# --- who validates is the name server


def test_what_a_validating_server_refuses_is_refused_with_its_reason(world: SplitWorld) -> None:
    """A bad signature: its SERVFAIL and its reason are passed on; who wants to check for himself gets the data."""
    refused = on(Code(SERVFAIL), ede(6, "signature expired"), name="forged.many.example")
    for _ in range(2):
        world.outside.obey(refused)
        for dnssec in (True, False):
            answer = world.gateway.ask("forged.many.example", dnssec=dnssec)
            assert (rcode(answer), records(answer)) == ("SERVFAIL", [])
            why = extended_error(answer)
            assert why is not None
            assert why[0] == 6
            assert "signature expired" in why[1]
        world.outside.obey()
        answer = world.gateway.ask("forged.many.example", dnssec=True, flags=dns.flags.CD)
        assert records(answer) == ["forged.many.example. A 198.51.100.7"]
    flags = [bool(one.message.flags & CD) for one in world.outside.heard("forged.many.example")]
    assert True in flags
    assert False in flags
