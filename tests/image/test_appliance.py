"""The appliance as it is built, in a virtual machine between the two networks: booted once, looked at, used, cut.

Its disk is larger than the image, and its seed brings the lab's addresses and settings. The tests go by their order:
those that look come first, then those that start it anew. Each leaves it serving.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab.scenario import play
from tests.support.lab.servers import needs_lab
from tests.support.lab.steps import Curl, NoPacket, Packets, Run, Step, Watch
from tests.support.lab.topology import (
    GATEWAY,
    INSIDE,
    INSIDE_WEB,
    OUTSIDE,
    PROXY,
    PROXY6,
    TARGET_6,
    TARGET_A,
    TARGET_B,
    WAN1,
    WAN1_6,
)
from tests.support.vm.accelerator import Accelerator
from tests.support.vm.appliance import HOSTNAME, Appliance, Setup, appliance
from tests.support.vm.gateway import adapted
from tests.support.vm.machine import missing
from tests.support.vm.portscan import scan
from tests.support.vm.settings import PORT, PROXY_URL, gateway_files
from tests.support.waiting import eventually

LACKING = missing("nmap")
pytestmark = [needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING)]

#: GiB
SIZE = 8
A, B, SIX = f"http://{TARGET_A}/", f"http://{TARGET_B}/", f"http://[{TARGET_6}]/"
BY_OUTSIDE = {"host": OUTSIDE, "source": WAN1}
#: what is asked over UDP: everything that an ordinary host could answer
QUESTIONS = ("-sU", "-p", "53,67,68,69,111,123,137,161,500,514,546,1080,1900,4500,5353,5355")
#: where nothing answers it would wait longer and longer
FAST = ("--min-rate", "500")


@pytest.fixture(scope="module")
def box(disk: Path, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    setup = Setup(disk, files=gateway_files(), size=SIZE)
    with appliance(setup, accelerator, tmp_path_factory.mktemp("appliance")) as made:
        made.up()
        yield made


def said(box: Appliance, *command: str) -> str:
    """What a command on the appliance prints; it must end well."""
    done = box.shell.run(*command)
    assert done.status == 0, f"{shlex.join(command)}: status {done.status}: {done.output}{done.errors}"
    return done.output.strip()


def played(box: Appliance, *steps: Step) -> None:
    play(box.machines, adapted(steps))


def fetch(url: str, expect: dict[str, str] | None = BY_OUTSIDE, within: float = 0.0) -> Curl:
    """From the inside through the gateway."""
    return Curl(INSIDE, url, PROXY_URL, expect, within=within)


def test_its_console_shows_the_daemon_live(box: Appliance) -> None:
    page = box.wait_for("sockd: worker")
    for shown in (HOSTNAME, "inside", PROXY, "outside", WAN1, "sockd: gateway", "sockd: resolver"):
        assert shown in page, f"{shown} is missing:\n{page}"


@pytest.mark.full
def test_enter_on_its_console_leads_to_login_and_the_page_comes_back(box: Appliance) -> None:
    box.vm.console.type("\r")
    box.wait_for("login:")
    box.vm.console.type("\x04")
    box.wait_for("sockd: worker")


def test_its_screen_shows_something(box: Appliance, tmp_path: Path) -> None:
    picture = tmp_path / "screen.ppm"
    box.vm.screen(picture)
    assert len(set(picture.read_bytes()[20:])) > 1, "the screen is blank"


def test_an_inside_client_fetches_through_it_by_name(box: Appliance) -> None:
    played(
        box,
        fetch("http://www.example/", {"host": OUTSIDE, "source": WAN1, "target": TARGET_A}, within=20),
        Curl(INSIDE, "http://www.example/", f"http://{PROXY}:{PORT}", BY_OUTSIDE, ("--proxytunnel",)),
        fetch("http://six.example/", {"host": OUTSIDE, "source": WAN1_6, "target": TARGET_6}),
    )


def test_names_of_the_inside_are_the_inside_s_and_others_the_world_s(box: Appliance) -> None:
    for name, address in (("corp.example", INSIDE_WEB), ("intranet", INSIDE_WEB), ("www.example", TARGET_A)):
        played(box, Run(INSIDE, ("getent", "ahostsv4", name), output=f"^{re.escape(address)} ", within=10))
    played(box, Run(OUTSIDE, ("getent", "ahostsv4", "corp.example"), output=f"^{re.escape(TARGET_A)} "))


def test_it_forwards_nothing(box: Appliance) -> None:
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        assert said(box, "sysctl", "-n", name) == "0"
    inside = box.lab.spaces[INSIDE]
    inside.ip("route", "add", TARGET_A, "via", PROXY)
    inside.ip("-6", "route", "add", TARGET_6, "via", PROXY6)
    played(
        box,
        Watch("outside"),
        *(Curl(INSIDE, url) for url in (A, SIX)),
        *(NoPacket("outside", target) for target in (TARGET_A, TARGET_6)),
        fetch(A),
        Packets("outside", TARGET_A),
    )
    inside.ip("route", "del", TARGET_A)
    inside.ip("-6", "route", "del", TARGET_6)


@pytest.mark.parametrize("address", [PROXY, PROXY6])
def test_from_the_inside_only_proxy_names_and_ssh_answer(box: Appliance, address: str) -> None:
    ports = scan(box.lab, INSIDE, address, "-sS", "--top-ports", "1000")
    assert ports.having("open") == {"tcp/22", "tcp/53", "tcp/1080"}
    assert ports.states() == {"open", "filtered"}, ports
    ports = scan(box.lab, INSIDE, address, *QUESTIONS)
    assert ports.having("open") == {"udp/53"}
    assert ports.states() <= {"open", "filtered", "open|filtered"}, ports


@pytest.mark.parametrize("address", [WAN1, WAN1_6])
def test_from_the_outside_nothing_answers(box: Appliance, address: str) -> None:
    ports = scan(box.lab, OUTSIDE, address, "-sS", "--top-ports", "1000")
    assert ports.states() == {"filtered"}, ports
    ports = scan(box.lab, OUTSIDE, address, *QUESTIONS)
    assert ports.states() <= {"filtered", "open|filtered"}, ports


@pytest.mark.full
def test_none_of_all_ports_answers_but_those(box: Appliance) -> None:
    inside = scan(box.lab, INSIDE, PROXY, "-sS", "-p-", *FAST)
    assert inside.having("open") == {"tcp/22", "tcp/53", "tcp/1080"}
    assert inside.states() == {"open", "filtered"}, inside
    assert scan(box.lab, OUTSIDE, WAN1, "-sS", "-p-", *FAST).states() == {"filtered"}


def test_all_its_services_run(box: Appliance) -> None:
    said(box, "systemctl", "is-system-running", "--wait")
    assert said(box, "systemctl", "--failed", "--no-legend") == ""


def test_its_root_is_read_only(box: Appliance) -> None:
    assert said(box, "findmnt", "--noheadings", "--output", "OPTIONS", "/").split(",")[0] == "ro"
    done = box.shell.run("touch", "/usr/something")
    assert done.status == 1
    assert "Read-only file system" in done.errors


def test_its_state_has_taken_the_room_of_the_disk(box: Appliance) -> None:
    disk, state = (int(said(box, "sh", "-c", command)) for command in (_DISK, _STATE))
    assert disk == SIZE << 30
    assert state > disk // 2, "the image is less than half of this disk, and the rest is the state's"


_DISK = "lsblk --noheadings --nodeps --bytes --output SIZE /dev/vda"
_STATE = "findmnt --noheadings --bytes --output SIZE /state"


def test_a_rule_that_is_changed_counts_at_once_and_after_a_reboot(box: Appliance) -> None:
    played(box, fetch(B))
    said(box, "sh", "-c", f"printf 'deny ALL {TARGET_B}/32\\npermit ALL ALL\\n' >/etc/sockd.conf && sockctl reload")
    played(box, fetch(B, None), fetch(A))
    box.reboot()
    assert said(box, "hostname") == HOSTNAME
    played(box, fetch(A, within=60), fetch(B, None))
    assert said(box, "systemctl", "--failed", "--no-legend") == ""


#: A loop of whole replacements, each on the disk before the next; it says so to whoever waits.
WRITER = """\
import itertools, os
def write(number):
    with open("/etc/sockd.conf.new", "w") as file:
        file.write(f"# begin {number}\\n" + "".join(f"deny ALL 10.9.{n}.0/24\\n" for n in range(200)))
        file.write(f"permit ALL ALL\\n# end {number}\\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace("/etc/sockd.conf.new", "/etc/sockd.conf")
    folder = os.open("/etc", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
for number in itertools.count(1):
    write(number)
    with open("/run/written", "w") as file:
        file.write(str(number))
"""


def test_a_power_cut_in_the_middle_of_writing_leaves_a_whole_configuration(box: Appliance) -> None:
    played(box, fetch(A))
    said(box, "systemd-run", "--quiet", "python3", "-c", WRITER)

    def written() -> int:
        return int(box.shell.run("cat", "/run/written").output or 0)

    last = eventually(lambda: number if (number := written()) > 20 else 0, within=120, every=0.2)
    assert last, "the loop does not write"
    box.cut()
    kept = said(box, "cat", "/etc/sockd.conf").splitlines()
    begin, end = (re.fullmatch(f"# {word} (\\d+)", kept[place]) for word, place in (("begin", 0), ("end", -1)))
    assert begin is not None
    assert end is not None
    assert (len(kept), begin[1]) == (203, end[1]), "it is neither the old nor the new one"
    assert int(end[1]) >= last, "what was on the disk is lost"
    said(box, "sockctl", "check", "/etc/gateway.toml")
    played(box, Run(GATEWAY, ("systemctl", "is-active", "sockd"), output="^active$", within=60), fetch(A))
