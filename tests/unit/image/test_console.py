"""The page of the console: what it shows, what it says to do next, and how little it sends to the terminal."""

from dataclasses import replace

import pytest
from appliance.console import Shown, View, cards_of, changes, next_step, page, permits, plain, troubles, whole
from appliance.page import LONGEST, pause, understood, writable
from appliance.report import Report

INSIDE = Shown("inside", "52:54:00:00:00:0a", "up", ("10.1.0.1/24", "fd00:1::1/64"))
OUTSIDE = Shown("outside", "52:54:00:00:00:0b", "up", ("192.0.2.10/24",))
LISTENING = ["[fe80::1]:1080", "10.1.0.1:1080", "[fd00:1::1]:1080"]
WELL = View(
    host="gw1",
    version="0.1.0",
    cards=(INSIDE, OUTSIDE),
    titles=("sockd: gateway: 0 sessions", "sockd: worker 1"),
    status={"listening": LISTENING, "troubles": []},
    rules=2,
    report=Report("/dev/vdb", {"inside": INSIDE.mac, "outside": OUTSIDE.mac}),
)
EMPTY = View(host="gateway", version="0.1.0", cards=(replace(INSIDE, name="eth0", link="down", addresses=()),))


def test_the_page_shows_who_what_and_what_next() -> None:
    assert page(WELL, 79, 24) == [
        "Multihomed gateway 0.1.0 on gw1",
        "",
        "inside   52:54:00:00:00:0a  up       10.1.0.1/24 fd00:1::1/64",
        "outside  52:54:00:00:00:0b  up       192.0.2.10/24",
        "",
        "sockd: gateway: 0 sessions",
        "sockd: worker 1",
        "",
        "Next: point clients to socks5h://10.1.0.1:1080",
        "Enter: log in",
    ]


@pytest.mark.parametrize(
    ("view", "step"),
    [
        pytest.param(EMPTY, "give it a seed:", id="nothing has been said to it"),
        pytest.param(replace(EMPTY, report=Report(problems=("seed.toml:1: x",))), "mend what is said", id="bad seed"),
        pytest.param(replace(WELL, volatile="no partition"), "give it its state partition", id="nothing is kept"),
        pytest.param(replace(WELL, status=None), "sockd is asked", id="not known yet"),
        pytest.param(replace(WELL, status=None, why="x"), "look why sockd does not answer", id="no answer"),
        pytest.param(replace(WELL, rules=0), "everything is refused: write /etc/sockd.conf", id="no rules"),
        pytest.param(replace(WELL, status={"troubles": ["x"]}), "look after what is said above", id="a trouble"),
        pytest.param(replace(WELL, cards=(INSIDE, replace(OUTSIDE, link="no link"))), "look after", id="a cable"),
        pytest.param(replace(WELL, rules=None), "point clients to socks5h://10.1.0.1:1080", id="rules not readable"),
        pytest.param(replace(WELL, status={"listening": ["127.0.0.1:1080"]}), "sockd listens nowhere", id="loopback"),
    ],
)
def test_the_next_step_is_the_first_that_is_not_done(view: View, step: str) -> None:
    assert next_step(view).startswith(step)


def test_a_gateway_that_ansible_has_set_up_is_not_asked_for_a_seed() -> None:
    assert "seed" not in next_step(replace(WELL, report=Report()))


def test_troubles_are_all_shown() -> None:
    view = replace(
        WELL,
        volatile="there is no partition",
        report=Report("/dev/vdb", {"inside": INSIDE.mac}, ("the card outside is not in this machine",)),
        cards=(replace(INSIDE, link="no link"),),
        status={"troubles": ["worker 1 does not run"]},
    )
    assert troubles(view) == (
        "NOTHING IS KEPT after the next boot: there is no partition",
        "the card outside is not in this machine",
        "sockd: worker 1 does not run",
        "the card inside has no link",
    )
    assert sum(line.startswith("TROUBLE: ") for line in page(view, 79, 24)) == 4


def test_a_root_that_was_left_writable_and_a_new_kernel_are_troubles() -> None:
    assert troubles(replace(WELL, writable=True, restart=True)) == (
        "/ can be written to, and no package is being changed: appliance-root ro, or a restart, ends it",
        "restart to run the new kernel",
    )


STATE = "29 21 253:4 / /state rw,noatime shared:2 - ext4 /dev/vda4 rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "is_writable"),
    [
        ("21 1 253:3 / / ro,noatime shared:1 - ext4 /dev/vda3 ro\n" + STATE, False),
        ("21 1 253:3 / / rw,noatime shared:1 - ext4 /dev/vda3 rw\n" + STATE, True),
        ("21 1 253:3 / / ro,noatime - ext4 /dev/vda3 rw\n" + STATE, False),
        ("21 1 253:3 / / rw,noatime shared:1 - ext4 /dev/vda3 rw\n", False),
        ("", False),
    ],
    ids=["read-only", "writable", "read-only for us", "no appliance", "nothing"],
)
def test_a_writable_root_is_seen(mountinfo: str, is_writable: bool) -> None:
    assert writable(mountinfo) is is_writable


def test_the_page_fits_a_small_screen_and_keeps_what_is_to_be_done() -> None:
    view = replace(WELL, titles=tuple(f"sockd: worker {number}: {'x' * 100}" for number in range(50)))
    lines = page(view, 39, 12)
    assert len(lines) == 12
    assert max(map(len, lines)) <= 39
    assert lines[-1] == "Enter: log in"
    assert any(line.startswith("... ") for line in lines)


def test_a_long_trouble_goes_on_in_the_next_line() -> None:
    view = replace(WELL, status={"troubles": ["word " * 30]})
    text = "\n".join(page(view, 79, 24))
    assert text.count("word") == 30


def test_bytes_of_others_can_not_steer_the_terminal() -> None:
    view = replace(WELL, host="gw\x1b[2J", titles=("sockd: \x9b2J",), status={"troubles": ["\x07 \u202e"]})
    assert all(line.isascii() and line.isprintable() for line in page(view, 79, 24))
    assert plain("a\x1bb") == "a\\x1bb"
    assert plain(b"\xff") == "\\xff"


def test_nothing_is_sent_when_nothing_has_changed() -> None:
    lines = page(WELL, 79, 24)
    assert changes(lines, lines) == ""


def test_only_lines_that_changed_are_sent() -> None:
    before = page(WELL, 79, 24)
    after = page(replace(WELL, titles=("sockd: gateway: 1 sessions", "sockd: worker 1")), 79, 24)
    assert changes(before, after) == "\x1b[6;1Hsockd: gateway: 1 sessions\x1b[K"


def test_lines_that_are_gone_are_wiped() -> None:
    assert changes(["a", "b", "c"], ["a"]) == "\x1b[2;1H\x1b[K\x1b[3;1H\x1b[K"


def test_a_whole_page_begins_on_an_empty_screen() -> None:
    assert whole(["a", "b"]) == "\x1b[m\x1b[H\x1b[2Ja\r\nb"


def test_cards_are_those_of_ip() -> None:
    links: list[dict[str, object]] = [
        {"ifname": "lo", "link_type": "loopback", "flags": ["UP", "LOWER_UP"], "addr_info": []},
        {"ifname": "eth9", "link_type": "ether", "address": "02:09", "flags": [], "addr_info": []},
        {"ifname": "outside", "link_type": "ether", "address": "02:02", "flags": ["NO-CARRIER", "UP"]},
        {
            "ifname": "inside",
            "link_type": "ether",
            "address": "02:01",
            "flags": ["BROADCAST", "UP", "LOWER_UP"],
            "addr_info": [
                {"local": "10.1.0.1", "prefixlen": 24, "scope": "global"},
                {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
            ],
        },
    ]
    assert cards_of(links) == (
        Shown("inside", "02:01", "up", ("10.1.0.1/24",)),
        Shown("outside", "02:02", "no link"),
        Shown("eth9", "02:09", "down"),
    )


def test_lines_that_permit_are_counted() -> None:
    assert permits("# permit x\n\npermit 10.0.0.0/8\n  ALLOW 10.1.0.0/16\ndeny ALL\n") == 2


def test_an_answer_of_sockctl_is_an_object_or_the_reason() -> None:
    assert understood('{"troubles": []}\n') == ({"troubles": []}, "")
    assert understood("first\nsockctl status: nobody answers\n\n") == (None, "sockctl status: nobody answers")
    assert understood("[" * 100_000)[0] is None
    assert understood("") == (None, "it does not answer")


def test_a_slow_machine_is_asked_less_often() -> None:
    assert pause(0.2, True) == pytest.approx(4.0)
    assert pause(30.0, True) == LONGEST


def test_who_does_not_answer_yet_is_asked_again_soon() -> None:
    assert pause(2.0, False) == pytest.approx(4.0)
