"""The gateway between its networks: who reaches what by which uplink, and what happens when one of them goes.

Scenarios are data (`tests.support.lab.steps`), so that they can be played on other machines too; what needs many
sessions, or the daemon's own processes, is written out.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.control.protocol import Status
from tests.support import proc
from tests.support.daemon import PROGRAM, Sockd, Toml, sockd
from tests.support.lab.build import Lab
from tests.support.lab.capture import capture
from tests.support.lab.machines import Spaces
from tests.support.lab.scenario import play
from tests.support.lab.servers import needs_lab
from tests.support.lab.steps import (
    Curl,
    Insert,
    Logged,
    Mute,
    NoPacket,
    Packets,
    Pull,
    Remove,
    Renumber,
    Restore,
    Run,
    Step,
    Unmute,
    Watch,
)
from tests.support.lab.topology import (
    CLIENT,
    GATEWAY,
    INSIDE,
    OUTSIDE,
    OUTSIDE2,
    PROXY,
    PROXY6,
    ROUTER1,
    TARGET_6,
    TARGET_A,
    TARGET_B,
    WAN1,
    WAN1_6,
    WAN2,
    WAN2_6,
)
from tests.support.waiting import eventually

pytestmark = needs_lab

A, B, SIX = f"http://{TARGET_A}/", f"http://{TARGET_B}/", f"http://[{TARGET_6}]/"
PORT = 1080
#: seconds; what is to come takes tenths of one, but a busy machine may be late
SOON = 15.0
INSIDE_PROXY = f"socks5h://{PROXY}:{PORT}"
AS_OPS = f"socks4://ops@{PROXY}:{PORT}"
RULES = "permit ALL ALL\n"
ROUTES = f"""\
# the operators always go by wan2, B too, A only by wan1
wan2        *=ops  ALL
wan2,wan1   {TARGET_B}/32
wan1        {TARGET_A}/32
wan1,wan2   {TARGET_6}/128
"""
BY_WAN1 = {"host": OUTSIDE, "source": WAN1}
BY_WAN2 = {"host": OUTSIDE2, "source": WAN2}
NO_WAY = r"\*\*\*Cannot find appropriate interface to communicate with "


def settings(**external: object) -> Toml:
    """Inside by interface, and a short failback."""
    return {"internal": {"interface": "eth1", "port": PORT}, "external": {"failback": 0.5} | external}


@contextlib.contextmanager
def gateway(
    networks: Lab,
    folder: Path,
    routes: str | None = ROUTES,
    more: Toml | None = None,
    runner: Sequence[str] = (),
    **external: object,
) -> Iterator[Sockd]:
    """A daemon in the gateway; ``runner`` is a command before it."""
    prefix = (*networks.spaces[GATEWAY].prefix, *runner)
    written = {**settings(**external), **(more or {})}
    with sockd(folder / "gw", RULES, addresses=(), workers=2, settings=written, routes=routes, prefix=prefix) as made:
        yield made


@contextlib.contextmanager
def machines(networks: Lab, folder: Path, routes: str | None = ROUTES, **external: object) -> Iterator[Spaces]:
    """The lab with a daemon in its gateway, for a scenario."""
    with gateway(networks, folder, routes, None, (), **external) as daemon:
        yield Spaces(networks, daemon.log)


def fetch(url: str, expect: dict[str, str] | None, proxy: str = INSIDE_PROXY, within: float = 0.0) -> Curl:
    """From the inside through the gateway."""
    return Curl(INSIDE, url, proxy, expect, within=within)


FOLLOWS_THE_FILE: Sequence[Step] = (
    Watch("wan1"),
    Watch("wan2"),
    Curl(INSIDE, A),
    NoPacket("wan1", TARGET_A),
    NoPacket("wan2", TARGET_A),
    fetch(A, BY_WAN1),
    Packets("wan1", TARGET_A),
    NoPacket("wan2", TARGET_A),
    fetch(B, BY_WAN2),
    NoPacket("wan1", TARGET_B),
    fetch(SIX, {"host": OUTSIDE, "source": WAN1_6}),
    fetch(A, BY_WAN2, AS_OPS),
    fetch(B, BY_WAN2, AS_OPS),
)

PULLED: Sequence[Step] = (
    fetch(A, BY_WAN1),
    fetch(SIX, {"host": OUTSIDE, "source": WAN1_6}),
    Watch("wan2"),
    Pull("wan1"),
    Logged("uplink wan1 is (still )?down: link is down"),
    fetch(A, None),
    Logged(NO_WAY + f"{TARGET_A}: no usable way out by sockd.route:4: wan1 is down: link is down"),
    NoPacket("wan2", TARGET_A),
    fetch(SIX, {"host": OUTSIDE2, "source": WAN2_6}),
    Restore("wan1"),
    Logged("uplink wan1 works again"),
    fetch(A, BY_WAN1, within=SOON),
    Logged("uplink wan1 is preferred again", within=SOON),
    fetch(SIX, {"host": OUTSIDE, "source": WAN1_6}, within=SOON),
    NoPacket("wan2", TARGET_A),
)

RENUMBERED: Sequence[Step] = (
    fetch(A, BY_WAN1),
    Renumber("wan1", f"{WAN1}/24", "192.0.2.77/24"),
    # at once, or one after the other, by how fast the machine is
    Logged("uplink wan1: address 192.0.2.10 is (replaced by 192.0.2.77|lost; address 192.0.2.77 is used from now on)"),
    fetch(A, {"host": OUTSIDE, "source": "192.0.2.77"}, within=SOON),
    fetch(B, BY_WAN2),
)

CARD_GONE: Sequence[Step] = (
    Watch("wan2"),
    Remove("wan1"),
    Logged("uplink wan1 is (still )?down: no such interface"),
    fetch(A, None),
    NoPacket("wan2", TARGET_A),
    Insert("wan1"),
    fetch(A, BY_WAN1, within=SOON),
)

CLASSIC: Sequence[Step] = (
    fetch(A, BY_WAN1),
    fetch(B, BY_WAN2),
    Renumber("wan1", f"{WAN1}/24", "192.0.2.77/24"),
    Logged("uplink wan1 is gone: it has no address any more that a file names"),
    fetch(A, None),
    Logged(NO_WAY + f"{TARGET_A}: .*no interface has the address 192.0.2.10"),
    Renumber("wan1", "192.0.2.77/24", f"{WAN1}/24"),
    fetch(A, BY_WAN1, within=SOON),
)


@pytest.mark.parametrize(
    ("routes", "steps"),
    [
        pytest.param(ROUTES, FOLLOWS_THE_FILE, id="each destination and user leaves by the uplink of its line"),
        pytest.param(ROUTES, PULLED, id="a pulled cable moves what has another way, and refuses what has none"),
        pytest.param(ROUTES, RENUMBERED, id="a new address is used without a restart"),
        pytest.param(ROUTES, CARD_GONE, id="a card that goes and comes back is refused and used again"),
        pytest.param(
            f"{WAN1} {TARGET_A} 255.255.255.255\n{WAN2} 0.0.0.0 0.0.0.0\n",
            CLASSIC,
            id="a file of the classic grammar, by address",
        ),
    ],
)
def test_scenarios(own_networks: Lab, tmp_path: Path, routes: str, steps: Sequence[Step]) -> None:
    with machines(own_networks, tmp_path, routes) as stage:
        play(stage, steps)


def test_without_a_line_the_default_is_taken_and_without_one_nothing(own_networks: Lab, tmp_path: Path) -> None:
    with machines(own_networks, tmp_path, f"wan2 {TARGET_B}/32\n") as stage:
        play(stage, [fetch(A, None), Logged(NO_WAY + f"{TARGET_A}$"), fetch(B, BY_WAN2)])
    with machines(own_networks, tmp_path, f"wan2 {TARGET_B}/32\n", interface=["wan1", "wan2"]) as stage:
        play(stage, [fetch(A, BY_WAN1), fetch(B, BY_WAN2)])
    with machines(own_networks, tmp_path, None, interface="wan2") as stage:
        play(stage, [fetch(A, BY_WAN2), fetch(B, BY_WAN2)])


def test_only_a_probe_sees_an_uplink_that_swallows_everything(own_networks: Lab, tmp_path: Path) -> None:
    probing = {
        "probes": [f"tcp {ROUTER1} 9", "tcp 203.0.113.10 80"],
        "interval": 0.2,
        "timeout": 0.2,
        "fall": 2,
        "rise": 2,
    }
    steps: Sequence[Step] = (
        fetch(A, BY_WAN1),
        Mute("wan1"),
        Logged("uplink wan1 is down: .*timed out", within=SOON),
        fetch(A, BY_WAN2),
        Unmute("wan1"),
        Logged("uplink wan1 works again", within=SOON),
        fetch(A, BY_WAN2),
        Logged("uplink wan1 is preferred again", within=SOON),
        fetch(A, BY_WAN1, within=SOON),
    )
    with machines(own_networks, tmp_path, None, interface=["wan1", "wan2"], **probing) as stage:
        play(stage, steps)


def test_nobody_outside_gets_an_answer_from_the_port_at_any_address(own_networks: Lab, tmp_path: Path) -> None:
    """Not even the inside address, sent to an outside card: no connection, and no reset either."""
    for host, via, via6 in ((OUTSIDE, WAN1, WAN1_6), (OUTSIDE2, WAN2, WAN2_6)):
        own_networks.run(host, "ip", "route", "replace", f"{PROXY}/32", "via", via)
        own_networks.run(host, "ip", "-6", "route", "replace", f"{PROXY6}/128", "via", via6)
    with gateway(own_networks, tmp_path):
        space = own_networks.spaces[GATEWAY]
        with capture(space, "wan1") as first, capture(space, "wan2") as second:
            for host, addresses in ((OUTSIDE, (PROXY, PROXY6)), (OUTSIDE2, (PROXY, PROXY6))):
                for address in addresses:
                    assert not reaches(own_networks, host, address)
            assert first.packets(destination=PROXY), "the packets did arrive"
            assert second.packets(destination=PROXY6)
            for seen in (first, second):
                assert [
                    p for p in seen.packets(outgoing=True) if p.source in (PROXY, PROXY6) and p.protocol == "tcp"
                ] == []
        for host, address in ((OUTSIDE, WAN1), (OUTSIDE, WAN1_6), (OUTSIDE2, WAN2), (OUTSIDE2, WAN2_6)):
            assert not reaches(own_networks, host, address)
        for address in (PROXY, PROXY6):
            assert reaches(own_networks, INSIDE, address)


def reaches(networks: Lab, host: str, address: str) -> bool:
    """Whether a TCP connection to the proxy's port can be made from there within a second."""
    with networks.spaces[host].inside():
        try:
            socket.create_connection((address, PORT), 1.0).close()
        except OSError:
            return False
    return True


def test_the_inside_may_change_its_address_and_go_and_come(own_networks: Lab, tmp_path: Path) -> None:
    with gateway(own_networks, tmp_path) as daemon:
        stage = Spaces(own_networks, daemon.log)
        play(stage, [fetch(A, BY_WAN1), Run(GATEWAY, ("ip", "addr", "add", "10.1.0.9/24", "dev", "eth1"))])
        play(stage, [fetch(A, BY_WAN1, f"socks5h://10.1.0.9:{PORT}", within=SOON), fetch(A, BY_WAN1)])
        play(stage, [Run(GATEWAY, ("ip", "addr", "del", f"{PROXY}/24", "dev", "eth1"))])
        assert eventually(lambda: not reaches(own_networks, INSIDE, PROXY))
        own_networks.remove_card("eth1")
        daemon.wait_log("listening on nothing")
        own_networks.insert_card("eth1")
        play(stage, [fetch(A, BY_WAN1, within=SOON)])


def test_it_starts_without_its_interfaces_and_takes_them_when_they_come(own_networks: Lab, tmp_path: Path) -> None:
    own_networks.remove_card("wan1")
    with gateway(own_networks, tmp_path) as daemon:
        stage = Spaces(own_networks, daemon.log)
        daemon.wait_log("there is no interface wan1 now")
        play(stage, [fetch(A, None), fetch(B, BY_WAN2)])
        own_networks.insert_card("wan1")
        play(stage, [fetch(A, BY_WAN1, within=SOON)])
    own_networks.remove_card("eth1")
    with gateway(own_networks, tmp_path) as daemon:
        assert eventually(lambda: "no address of eth1 yet" in daemon.stderr()), daemon.stderr()
        own_networks.insert_card("eth1")
        play(Spaces(own_networks, daemon.log), [fetch(A, BY_WAN1, within=SOON)])


# Sessions that are live when an uplink goes

MANY = 500


class Sessions:
    """Connections from the inside through the gateway to the echo service of a target."""

    def __init__(self, networks: Lab, target: str, count: int) -> None:
        self.open: list[socket.socket] = []
        with networks.spaces[INSIDE].inside():
            for _ in range(count):
                self.open.append(connect(target))

    def answered(self) -> int:
        """How many are served now."""
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.send(b"x")
        return sum(self._one(sock) for sock in self.open)

    def _one(self, sock: socket.socket) -> bool:
        try:
            return sock.recv(1) == b"x"
        except OSError:
            return False

    def ended(self) -> int:
        """How many have been ended by the gateway."""
        ended = 0
        for sock in self.open:
            sock.setblocking(False)
            try:
                ended += not sock.recv(100)
            except BlockingIOError:
                continue
            except OSError:
                ended += 1
        return ended

    def close(self) -> None:
        for sock in self.open:
            sock.close()


def connect(target: str) -> socket.socket:
    """A SOCKS4 session to the echo port."""
    sock = socket.create_connection((PROXY, PORT), 30)
    sock.sendall(b"\x04\x01\x00\x07" + socket.inet_aton(target) + b"\x00")
    answer = sock.makefile("rb", buffering=0)
    assert answer.read(8)[1:2] == b"\x5a"
    assert answer.readline().endswith(b"}\n"), "the echo service greets"
    answer.close()
    return sock


@pytest.mark.parametrize("policy", ["keep", "cut"])
def test_an_uplink_that_goes_in_the_middle_of_500_sessions(own_networks: Lab, tmp_path: Path, policy: str) -> None:
    """New sessions use the other one at once; live ones stay or end, as the settings say."""
    with gateway(own_networks, tmp_path, f"wan1,wan2 {TARGET_B}/32\nwan1 ALL\n", sessions=policy) as daemon:
        stage = Spaces(own_networks, daemon.log)
        sessions = Sessions(own_networks, TARGET_A, MANY)
        try:
            assert sessions.answered() == MANY
            with capture(own_networks.spaces[GATEWAY], "wan2") as leaked:
                own_networks.pull("wan1")
                play(stage, [fetch(B, BY_WAN2, within=SOON), fetch(A, None)])
                if policy == "cut":
                    assert eventually(
                        lambda: sum(r["end"] == "the way out by wan1 is lost" for r in daemon.records()) == MANY
                    )
                    assert sessions.ended() == MANY
                else:
                    assert sessions.ended() == 0
                own_networks.restore("wan1")
                play(stage, [fetch(A, BY_WAN1, within=SOON), fetch(B, BY_WAN1, within=SOON)])
                if policy == "keep":
                    for sock in sessions.open:
                        sock.settimeout(30)
                    assert sessions.answered() == MANY
                assert leaked.packets(destination=TARGET_A) == []
        finally:
            sessions.close()


def test_what_is_being_dialled_moves_to_the_other_uplink(own_networks: Lab, tmp_path: Path) -> None:
    """A client does not wait for an answer by a cable that was pulled after its request."""
    own_networks.mute("wan1")
    with gateway(own_networks, tmp_path, "wan1,wan2 ALL\n") as daemon, own_networks.spaces[INSIDE].inside():
        with socket.create_connection((PROXY, PORT), 5) as client:
            client.sendall(b"\x04\x01\x00\x07" + socket.inet_aton(TARGET_A) + b"\x00")
            own_networks.pull("wan1")
            assert client.recv(8)[1:2] == b"\x5a"
        record = daemon.wait_record(uplink="wan2")
        assert record["way"] == "wan2 by sockd.route:1, because wan1 is down: link is down"
        assert record["client"].startswith(CLIENT)


# The kernel's rules


def dump(networks: Lab) -> str:
    """Every rule and every table of the gateway, without what counts time down."""
    both = [networks.run(GATEWAY, "ip", family, "rule").stdout for family in ("-4", "-6")]
    both += [networks.run(GATEWAY, "ip", family, "route", "show", "table", "all").stdout for family in ("-4", "-6")]
    return "".join(sorted(line for text in both for line in text.splitlines(keepends=True) if " cache " not in line))


def test_a_daemon_that_was_killed_at_any_moment_leaves_nothing_that_the_next_one_does_not_put_right(
    own_networks: Lab, tmp_path: Path
) -> None:
    before = dump(own_networks)
    with gateway(own_networks, tmp_path, remove_at_exit=True):
        wanted = dump(own_networks)
    assert wanted != before
    assert dump(own_networks) == before
    for moment in range(12):
        killed = start_and_kill(own_networks, tmp_path, 0.25 + 0.03 * moment)
        assert killed, "it was not running any more"
    with gateway(own_networks, tmp_path):
        assert dump(own_networks) == wanted
    assert dump(own_networks) == wanted, "they are kept at exit unless the settings say otherwise"


def start_and_kill(networks: Lab, folder: Path, seconds: float) -> bool:
    """Start the daemon, with one uplink fewer or more than the last time, and kill all of it after a while."""
    path = folder / "gw" / "gateway.toml"
    with (folder / "killed").open("wb") as output:
        process = subprocess.Popen(
            [*networks.spaces[GATEWAY].prefix, PROGRAM, "-d", "-f", str(path)], stderr=output, start_new_session=True
        )
    time.sleep(seconds)
    running = process.poll() is None
    while members := proc.session_members(process.pid):  # one may have started another meanwhile
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait(30)
    return running


def process(daemon: Sockd, name: str) -> int:
    """The number of a process by its name; 0 for one that does not run."""
    _, report = daemon.control(Status())
    return next((row["pid"] for row in report["processes"] if row["name"] == name), 0)


def test_a_watcher_that_dies_is_replaced_and_the_uplinks_are_known_again(own_networks: Lab, tmp_path: Path) -> None:
    with gateway(own_networks, tmp_path) as daemon:
        stage = Spaces(own_networks, daemon.log)
        os.kill(process(daemon, "watcher"), signal.SIGKILL)
        daemon.wait_log("watcher .* was killed by SIGKILL")
        play(stage, [fetch(A, BY_WAN1)])
        own_networks.pull("wan1")
        play(stage, [fetch(A, None, within=SOON), fetch(B, BY_WAN2)])


def disturb(networks: Lab) -> None:
    """Take one of our rules away, so that somebody has to put it back."""
    done = networks.run(GATEWAY, "ip", "rule", "del", "oif", "wan2")
    assert done.returncode == 0, done.stderr


def test_a_warden_that_dies_while_rules_are_kept_is_replaced_and_they_are_complete_in_the_end(
    own_networks: Lab, tmp_path: Path
) -> None:
    with gateway(own_networks, tmp_path) as daemon:
        stage = Spaces(own_networks, daemon.log)
        wanted = dump(own_networks)
        for moment in range(6):
            before = process(daemon, "warden")
            disturb(own_networks)
            time.sleep(0.01 * moment)  # while the change is seen, asked for, made, or done
            os.kill(before, signal.SIGKILL)
            daemon.wait_log(rf"warden \(process {before}\) has gone; its spare takes its place")
            play(stage, [fetch(A, BY_WAN1)])
            assert eventually(lambda: dump(own_networks) == wanted, within=SOON), dump(own_networks)
            assert eventually(lambda: process(daemon, "warden (spare)"), within=SOON)
        play(stage, [fetch(A, BY_WAN1), fetch(B, BY_WAN2)] * 4)


IMPATIENT = """
import sys
from gateway.daemon import seat
seat.APPLY_SECONDS = 0.5
from gateway.cli.sockd import main
main(sys.argv[2:])
"""


def test_a_warden_that_is_stopped_gives_way_to_its_spare_and_the_rules_are_kept(
    own_networks: Lab, tmp_path: Path
) -> None:
    program = tmp_path / "impatient.py"
    program.write_text(IMPATIENT)
    with gateway(own_networks, tmp_path, runner=(sys.executable, str(program))) as daemon:
        stage = Spaces(own_networks, daemon.log)
        wanted = dump(own_networks)
        stopped = process(daemon, "warden")
        os.kill(stopped, signal.SIGSTOP)
        disturb(own_networks)
        daemon.wait_log(rf"warden \(process {stopped}\) does not answer; its spare takes its")
        play(stage, [fetch(A, BY_WAN1)])
        assert eventually(lambda: dump(own_networks) == wanted, within=SOON), dump(own_networks)
        assert eventually(lambda: process(daemon, "warden") not in (0, stopped), within=SOON)


@pytest.mark.parametrize("name", ["watcher", "warden"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_is_to_be_removed_at_the_end_is_removed_whoever_is_dead_or_stopped_by_then(
    own_networks: Lab, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    before = dump(own_networks)
    with gateway(own_networks, tmp_path, remove_at_exit=True) as daemon:
        assert dump(own_networks) != before
        os.kill(process(daemon, name), number)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(60)
    assert dump(own_networks) == before


def test_the_administrators_own_rules_and_tables_are_left_alone(own_networks: Lab, tmp_path: Path) -> None:
    for command in (
        ("ip", "rule", "add", "from", "192.0.2.99", "lookup", "20005", "priority", "20002"),
        ("ip", "rule", "add", "fwmark", "7", "lookup", "77", "priority", "100"),
        ("ip", "route", "add", "203.0.113.99/32", "via", "192.0.2.1", "table", "20005"),
        ("ip", "route", "add", "203.0.113.98/32", "via", "198.51.100.1", "table", "77"),
    ):
        assert own_networks.run(GATEWAY, *command).returncode == 0
    before = dump(own_networks)
    with gateway(own_networks, tmp_path, remove_at_exit=True):
        assert set(before.splitlines()) < set(dump(own_networks).splitlines())
    assert dump(own_networks) == before


def test_a_dhcp_client_may_move_an_uplink_to_another_network_at_once(own_networks: Lab, tmp_path: Path) -> None:
    """Address and default route come within a millisecond: our rules must not keep the kernel from taking the route."""
    own_networks.run(OUTSIDE, "ip", "addr", "add", "192.88.99.1/24", "dev", "eth0")
    move = (
        "ip addr add 192.88.99.10/24 dev wan1 && ip addr del 192.0.2.10/24 dev wan1 && "
        "ip route replace default via 192.88.99.1 dev wan1 metric 100"
    )
    with gateway(own_networks, tmp_path) as daemon:
        stage = Spaces(own_networks, daemon.log)
        play(stage, [fetch(A, BY_WAN1)])
        done = own_networks.run(GATEWAY, "sh", "-c", move)
        assert (done.returncode, done.stderr) == (0, "")
        play(stage, [fetch(A, {"source": "192.88.99.10"}, within=SOON)])


# What the commands show


def test_the_commands_tell_which_way_out_and_why(own_networks: Lab, tmp_path: Path) -> None:
    with gateway(own_networks, tmp_path) as daemon:
        stage = Spaces(own_networks, daemon.log)
        file = ("-f", str(daemon.folder / "gateway.toml"))
        sockctl = str(Path(PROGRAM).with_name("sockctl"))
        explain = (sockctl, "explain", *file, "--from", CLIENT, "--to")
        play(
            stage,
            [
                Run(GATEWAY, (sockctl, "routes", *file), output=rf"^wan1 +wan1 +up +{WAN1} {WAN1_6}"),
                Run(
                    GATEWAY,
                    (sockctl, "routes", *file),
                    output=rf"^sockd.route:4 +wan1 +{TARGET_A}/32 +wan1 from {WAN1}$",
                ),
                Run(GATEWAY, (sockctl, "routes", *file), output=r"^sockd.route:2 +wan2 +ALL for ops"),
                Run(
                    GATEWAY, (*explain, f"{TARGET_A}:80"), output=f"way out: by wan1 from {WAN1}: wan1 by sockd.route:4"
                ),
                Run(GATEWAY, (*explain, f"{TARGET_A}:80", "--user", "ops"), output="wan2 by sockd.route:2"),
                Run(GATEWAY, (*explain, "203.0.113.77:80"), status=1, output="way out: none: no line of sockd.route"),
                Pull("wan1"),
                Logged("uplink wan1 is (still )?down"),
                Run(GATEWAY, (sockctl, "routes", *file), output="^wan1 +wan1 +down .*link is down", within=SOON),
                Run(GATEWAY, (*explain, f"{TARGET_A}:80"), status=1, output="REFUSED: no way out"),
                Run(GATEWAY, (*explain, f"{TARGET_B}:80"), output="not by wan1: wan1 is down: link is down"),
                Run(
                    GATEWAY,
                    (PROGRAM, "-ver", *file),
                    output="^CSTC multi-homed, stand-alone SOCKS proxy server version ",
                ),
            ],
        )


# What a hostile review found


class Hammer:
    """Connections from the inside, one after another in several threads, until it is stopped."""

    def __init__(self, networks: Lab, target: str) -> None:
        self.served = 0
        self._networks = networks
        self._target = target
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(3)]

    def __enter__(self) -> "Hammer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(OSError):
                self.served += self._once()

    def _once(self) -> bool:
        with self._networks.spaces[INSIDE].inside(), socket.create_connection((PROXY, PORT), 2) as sock:
            sock.sendall(b"\x04\x01\x00\x50" + socket.inet_aton(self._target) + b"\x00")
            return sock.recv(8)[1:2] == b"\x5a"


def test_exchanged_names_of_cards_never_send_an_address_by_the_other_card(own_networks: Lab, tmp_path: Path) -> None:
    swap = "ip link set wan1 name x && ip link set wan2 name wan1 && ip link set x name wan2"
    with gateway(own_networks, tmp_path, "wan1 ALL\n", failback=0):
        with (
            capture(own_networks.spaces[OUTSIDE], "eth0") as first,
            capture(own_networks.spaces[OUTSIDE2], "eth0") as second,
            Hammer(own_networks, TARGET_A) as hammer,
        ):
            for times in itertools.count(1):
                own_networks.run(GATEWAY, "sh", "-c", swap)
                time.sleep(0.15)
                if (times >= 8 and hammer.served > 20) or times == 100:
                    break
        assert hammer.served > 20
        assert first.packets(source=WAN1, port=80), "it did leave by this one"
        assert second.packets(source=WAN2, port=80), "and by this one"
        assert first.packets(source=WAN2) == []
        assert second.packets(source=WAN1) == []


def test_sessions_are_cut_when_the_address_of_their_line_goes(own_networks: Lab, tmp_path: Path) -> None:
    with gateway(own_networks, tmp_path, f"{WAN1} 0.0.0.0 0.0.0.0\n", sessions="cut") as daemon:
        sessions = Sessions(own_networks, TARGET_A, 5)
        try:
            own_networks.run(GATEWAY, "ip", "addr", "del", f"{WAN1}/24", "dev", "wan1")
            lost = "the way out by wan1 is lost"
            assert eventually(lambda: sum(record["end"] == lost for record in daemon.records()) == 5)
            assert sessions.ended() == 5
        finally:
            sessions.close()


def test_a_signal_to_the_whole_group_ends_it_in_order(own_networks: Lab, tmp_path: Path) -> None:
    """As systemd and a terminal do: nobody is started again, and the rules go last."""
    before = dump(own_networks)
    with gateway(own_networks, tmp_path, remove_at_exit=True) as daemon:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.process.wait(30)
        assert "a new one starts" not in daemon.log(), daemon.log()
        assert daemon.log().rstrip().endswith("stopped")
    assert dump(own_networks) == before


def test_more_addresses_than_can_be_listened_on_are_said_and_do_no_harm(own_networks: Lab, tmp_path: Path) -> None:
    batch = "".join(f"addr add fd00:1::1:{number:x}/64 dev eth1 nodad\n" for number in range(300))
    space = own_networks.spaces[GATEWAY]
    subprocess.run([*space.prefix, "ip", "-batch", "-"], input=batch, text=True, check=True)
    with gateway(own_networks, tmp_path, "wan1,wan2 ALL\n") as daemon:
        stage = Spaces(own_networks, daemon.log)
        assert eventually(lambda: "of them are not listened on" in daemon.stderr()), daemon.stderr()
        play(
            stage,
            [fetch(A, BY_WAN1), Pull("wan1"), Logged("uplink wan1 is (still )?down"), fetch(A, BY_WAN2, within=SOON)],
        )


def test_an_administrators_way_to_the_host_itself_stays_as_it_is(own_networks: Lab, tmp_path: Path) -> None:
    """A service on the gateway, reached from a network behind an inside router at an uplink's address."""
    inside, here = own_networks.spaces[INSIDE], own_networks.spaces[GATEWAY]
    inside.ip("addr", "add", "10.5.0.7/32", "dev", "lo")
    inside.ip("route", "add", f"{WAN1}/32", "via", PROXY)
    here.ip("route", "add", "10.5.0.0/16", "via", CLIENT)
    with here.inside():
        service = socket.create_server((WAN1, 2222))
    with service, gateway(own_networks, tmp_path), inside.inside():
        client = socket.create_connection((WAN1, 2222), 2, source_address=("10.5.0.7", 0))
        accepted, name = service.accept()
        accepted.close()
        assert name[0] == "10.5.0.7"
        assert client.recv(1) == b""
        client.close()
