"""The driver of scenarios, proved with a daemon between the two networks: right steps pass, wrong ones are told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Sockd, sockd
from tests.support.lab.build import Lab
from tests.support.lab.machines import Spaces
from tests.support.lab.scenario import ScenarioFailed, play
from tests.support.lab.servers import needs_lab
from tests.support.lab.steps import (
    Change,
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
    SetRoutes,
    Step,
    Unmute,
    Wait,
    Watch,
)
from tests.support.lab.topology import GATEWAY, INSIDE, OUTSIDE, OUTSIDE2, PROXY, TARGET_A, TARGET_B, WAN1, WAN2

pytestmark = needs_lab
A, B = f"http://{TARGET_A}/", f"http://{TARGET_B}/"
RULES = "deny 10.1.0.0/24 203.0.113.20/32\npermit 10.1.0.0/24\n"


@pytest.fixture
def machines(own_networks: Lab, daemon: Sockd) -> Spaces:
    return Spaces(own_networks, daemon.log)


@pytest.fixture
def daemon(own_networks: Lab, tmp_path: Path) -> Iterator[Sockd]:
    """A daemon on the gateway's inside address."""
    prefix = own_networks.spaces[GATEWAY].prefix
    with sockd(tmp_path / "gateway", RULES, addresses=[PROXY], prefix=prefix) as running:
        yield running


def proxy(daemon: Sockd) -> str:
    return f"socks5h://{PROXY}:{daemon.port}"


def test_only_the_gateway_leads_out(machines: Spaces, daemon: Sockd) -> None:
    play(
        machines,
        [
            Watch("wan1"),
            Watch("wan2"),
            Curl(INSIDE, A),
            NoPacket("wan1", TARGET_A),
            Curl(INSIDE, A, proxy(daemon), {"host": OUTSIDE, "source": WAN1, "target": TARGET_A}),
            Logged(f"connected -- Connect from .*@10.1.0.2 to {TARGET_A}"),
            Packets("wan1", TARGET_A),
            NoPacket("wan2", TARGET_A),
            Curl(INSIDE, B, proxy(daemon)),
            Logged("refused"),
            NoPacket("wan1", TARGET_B),
            Curl(INSIDE, "http://www.example/", proxy(daemon), {"target": TARGET_A}),
            Curl(OUTSIDE, A, f"socks5h://{WAN1}:{daemon.port}"),
            Run(GATEWAY, ("cat", "/proc/sys/net/ipv4/ip_forward"), output="^0$"),
        ],
    )


def test_cables_and_cards_move_under_it(machines: Spaces, daemon: Sockd) -> None:
    """Today's routes of the kernel decide; that is enough to see each change."""
    by_wan1 = {"host": OUTSIDE, "source": WAN1}
    play(
        machines,
        [
            Pull("wan1"),
            Run(GATEWAY, ("ip", "link", "show", "wan1"), output="NO-CARRIER", within=15),
            Restore("wan1"),
            Curl(INSIDE, A, proxy(daemon), by_wan1, within=15),
            Mute("wan1"),
            Curl(INSIDE, A, proxy(daemon), options=("--max-time", "0.3")),
            Unmute("wan1"),
            Curl(INSIDE, A, proxy(daemon), by_wan1, within=15),
            Renumber("wan1", f"{WAN1}/24", "192.0.2.77/24"),
            Curl(INSIDE, A, proxy(daemon), {"host": OUTSIDE, "source": "192.0.2.77"}),
            Remove("wan1"),
            Curl(INSIDE, A, proxy(daemon), {"host": OUTSIDE2, "source": WAN2}),
            Insert("wan1"),
            Curl(INSIDE, A, proxy(daemon), by_wan1),
            Run(GATEWAY, ("ip", "link", "set", "wan1", "down")),
            Run(GATEWAY, ("ip", "link", "set", "wan1", "up")),
            Curl(INSIDE, A, proxy(daemon), {"host": OUTSIDE2}),
            SetRoutes("wan1"),
            Curl(INSIDE, A, proxy(daemon), by_wan1, within=15),
        ],
    )


@pytest.mark.parametrize(
    ("step", "told"),
    [
        pytest.param(Curl(GATEWAY, A, expect={"host": OUTSIDE2}), "the answer was", id="another host answers"),
        pytest.param(Curl(GATEWAY, A), "it was answered", id="an answer where there must be none"),
        pytest.param(Curl(INSIDE, A, expect={}), "curl ended with status 7", id="no answer where there must be one"),
        pytest.param(Curl(GATEWAY, "nonsense://"), "curl ended with status", id="a mistake in a step is no refusal"),
        pytest.param(Curl(GATEWAY, f"{A}bytes?n=3", expect={}), "not of a target", id="an answer that says nothing"),
        pytest.param(Run(GATEWAY, ("false",)), "status 1", id="another status"),
        pytest.param(Run(GATEWAY, ("echo", "one"), output="two"), "said: one", id="another output"),
        pytest.param(Logged("a cow", within=0.1), "the log says", id="a line that does not come"),
        pytest.param(Packets("wan1", TARGET_A), "nobody watches", id="packets of a card that nobody watches"),
        pytest.param(NoPacket("wan1", TARGET_A), "nobody watches", id="no packets of a card that nobody watches"),
    ],
)
def test_a_step_that_comes_out_wrong_is_told(networks: Lab, step: Step, told: str) -> None:
    with pytest.raises(ScenarioFailed, match=f"step 2, .*{told}"):
        play(Spaces(networks, str), [Wait(0), step])


def test_packets_count_from_the_last_watch(networks: Lab) -> None:
    fetch = Curl(GATEWAY, A, expect={"host": OUTSIDE})
    play(Spaces(networks, str), [Watch("wan1"), fetch, Packets("wan1", TARGET_A)])
    play(Spaces(networks, str), [Watch("wan1"), fetch, Watch("wan1"), NoPacket("wan1", TARGET_A)])
    with pytest.raises(ScenarioFailed, match=r"step 3, .*packets have left"):
        play(Spaces(networks, str), [Watch("wan1"), fetch, NoPacket("wan1", TARGET_A)])


def test_a_step_may_take_its_time_to_come_out_right(networks: Lab, tmp_path: Path) -> None:
    counter = f"echo x >> {tmp_path}/n; wc -l < {tmp_path}/n"
    play(Spaces(networks, str), [Run(INSIDE, ("sh", "-c", counter), output="^3$", within=15)])


def test_lines_logged_before_a_scenario_do_not_count(networks: Lab) -> None:
    lines = ["old\n"]
    machines = Spaces(networks, lambda: "".join(lines))
    with pytest.raises(ScenarioFailed, match="the log says"):
        play(machines, [Logged("old", within=0)])
    play(machines, [])
    assert lines == ["old\n"]


def test_a_change_that_nobody_knows_is_refused(networks: Lab) -> None:
    with pytest.raises(ValueError, match="'paint' is none of"):
        play(Spaces(networks, str), [Change("paint", "wan1")])
