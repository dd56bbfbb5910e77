"""Ways out: by which uplink a session dials, what it does when there is none, and when the one it tries is lost."""

import pytest

from gateway.policy.egress import Egress, Hop, Standing, Uplink
from gateway.policy.router import Router
from gateway.policy.routetable import RouteTable
from gateway.session.record import Result
from gateway.session.tcp import NO_ROUTE
from tests.support.playbook import (
    BOUND,
    Closed,
    Connected,
    Dialled,
    Ended,
    LookedUp,
    Noted,
    Playbook,
    Ran,
    Received,
    Relayed,
    Resolved,
    Sent,
    Starting,
    WaysChanged,
    dialled_by,
    endpoint,
    recorded,
)
from tests.support.rawsocks import greeting, socks4, socks4a, socks5
from tests.support.routes import route_file, uplink, words
from tests.support.rules import Users, address

TARGET = "203.0.113.9"
REJECTED = bytes((0, 91, 0, 0, 0, 0, 0, 0))
GRANTED = bytes((0, 90, 0x9C, 0x41, 192, 0, 2, 254))
LOST = f"***Cannot find appropriate interface to communicate with {TARGET}"
WAN1, WAN2 = uplink("wan1", "192.0.2.10", "2001:db8:1::10"), uplink("wan2", "198.51.100.10")
BY_WAN1 = Egress("wan1", "wan1", address("192.0.2.10"))
BY_WAN2 = Egress("wan2", "wan2", address("198.51.100.10"))


def down(up: Uplink, cause: str = "link is down") -> Uplink:
    """The same uplink, which can not be used."""
    return Uplink(up.name, up.device, Standing.DOWN, cause, up.sources)


def router(*lines: str, default: str = "", uplinks: tuple[Uplink, ...] = (WAN1, WAN2)) -> Router:
    """From lines of a sockd.route and what is known of the uplinks."""
    made = Router(RouteTable.compile(route_file(*lines), Users()), words(default) if default else ())
    made.update(uplinks)
    return made


def asks(play: Playbook, request: bytes = socks4(TARGET, 80)) -> Playbook:
    return play >> Received(request)


def test_the_line_for_a_destination_chooses_the_way_and_the_record_names_it() -> None:
    assert (
        asks(Playbook(router=router("wan2 203.0.113.0/24", "wan1 ALL")))
        << dialled_by(BY_WAN2, "wan2 by sockd.route:1", f"{TARGET}:80")
        >> Connected()
        << Starting("connected -- ")
        << Sent(GRANTED)
        << Relayed()
        >> Ended(1, 2)
        << Starting("terminated -- ")
        << recorded(uplink="wan2", way="wan2 by sockd.route:1", egress=BOUND, result=Result.CONNECTED)
    )


def test_a_single_homed_server_leaves_it_to_the_kernel_and_the_record_says_nothing() -> None:
    assert (
        asks(Playbook())
        << Dialled((Hop(endpoint(f"{TARGET}:80")),))
        >> Connected()
        << Starting("connected -- ")
        << Sent(GRANTED)
        << Relayed()
        >> Ended(1, 2)
        << Starting("terminated -- ")
        << recorded(uplink=None, way=None)
    )


def test_via_on_the_rule_goes_before_every_line() -> None:
    play = Playbook(f"permit ALL {TARGET}/32 via=wan2\n", router=router("wan1 ALL"))
    assert asks(play) << dialled_by(BY_WAN2, "wan2 by via= of sockd.conf:1", f"{TARGET}:80")


def test_without_a_line_and_a_default_the_request_is_refused_in_the_originals_words() -> None:
    assert (
        asks(Playbook(router=router("wan1 10.0.0.0/8")))
        << Noted(LOST)
        << Sent(REJECTED)
        << Noted(f"refused -- Connect from (unknown)@10.1.2.3 to {TARGET} (http)")
        << recorded(result=Result.REFUSED, end=NO_ROUTE, uplink=None, rule="sockd.conf:1")
        << Closed()
    )


@pytest.mark.parametrize(
    ("uplinks", "reason"),
    [
        pytest.param(
            (down(WAN1), WAN2),
            "no usable way out by sockd.route:1: wan1 is down: link is down",
            id="the only one that the line names is down, although another one is up",
        ),
        pytest.param((WAN2,), "no usable way out by sockd.route:1: there is no interface wan1", id="it does not exist"),
    ],
)
def test_when_no_way_of_its_line_can_be_used_the_request_is_refused_with_the_reason(
    uplinks: tuple[Uplink, ...], reason: str
) -> None:
    assert (
        asks(Playbook(router=router("wan1 ALL", "wan2 ALL", uplinks=uplinks)))
        << Noted(f"{LOST}: {reason}")
        << Sent(REJECTED)
        << Starting("refused -- ")
        << recorded(result=Result.REFUSED, end=reason)
        << Closed()
    )


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        pytest.param(("wan1 10.0.0.0/8",), 2, id="no line is for it: not allowed by ruleset"),
        pytest.param(("wan9 ALL",), 3, id="its way can not be used now: network unreachable"),
    ],
)
def test_a_socks5_client_can_tell_the_two_refusals_apart(lines: tuple[str, ...], code: int) -> None:
    play = Playbook(router=router(*lines)) >> Received(greeting(0)) << Sent(b"\x05\x00")
    play >> Received(socks5(TARGET, 80))
    assert play.notebook.sent == bytes((5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0))
    assert not any(isinstance(entry, Dialled) for entry in play.notebook.done)


def test_a_command_of_a_line_is_not_run_when_there_is_no_way() -> None:
    play = asks(Playbook("permit ALL ALL : echo %A\n", router=router("wan9 ALL")))
    assert not any(isinstance(entry, Ran) for entry in play.notebook.done)


def test_of_a_names_addresses_those_are_dialled_that_there_is_a_way_to() -> None:
    play = Playbook(router=router("wan2 ALL"))
    play >> Received(socks4a(b"www.example.com", 80)) << LookedUp("www.example.com")
    assert (
        play
        >> Resolved("2001:db8::80", TARGET, "203.0.113.10")
        << dialled_by(BY_WAN2, "wan2 by sockd.route:1", f"{TARGET}:80", "203.0.113.10:80")
    )


def test_the_record_names_the_way_of_the_address_that_answered() -> None:
    play = Playbook(router=router(f"wan2 {TARGET}/32", "wan1 ALL"))
    play >> Received(socks4a(b"www.example.com", 80)) << LookedUp("www.example.com")
    by_wan1 = Hop(endpoint("203.0.113.10:80"), BY_WAN1, "wan1 by sockd.route:2")
    by_wan2 = Hop(endpoint(f"{TARGET}:80"), BY_WAN2, "wan2 by sockd.route:1")
    assert (
        play
        >> Resolved("203.0.113.10", TARGET)
        << Dialled((by_wan1, by_wan2))
        >> Connected(TARGET)
        << Starting("connected -- ")
        << Sent(GRANTED)
        << Relayed()
        >> Ended(1, 2)
        << Starting("terminated -- ")
        << recorded(address=TARGET, uplink="wan2", way="wan2 by sockd.route:1")
    )


def test_a_line_with_a_name_is_for_requests_by_that_name_only() -> None:
    routes = ("wan2 .example.com", "wan1 ALL")
    by_name = (
        Playbook(router=router(*routes)) >> Received(socks4a(b"www.example.com", 80)) << LookedUp("www.example.com")
    )
    assert by_name >> Resolved(TARGET) << dialled_by(BY_WAN2, "wan2 by sockd.route:1", f"{TARGET}:80")
    assert asks(Playbook(router=router(*routes))) << dialled_by(BY_WAN1, "wan1 by sockd.route:2", f"{TARGET}:80")


def test_a_way_that_is_lost_while_it_is_dialled_is_replaced_by_the_next_one() -> None:
    assert (
        asks(Playbook(router=router("wan1,wan2 ALL")))
        << dialled_by(BY_WAN1, "wan1 by sockd.route:1", f"{TARGET}:80")
        >> WaysChanged(down(WAN1), WAN2)
        << dialled_by(BY_WAN2, "wan2 by sockd.route:1, because wan1 is down: link is down", f"{TARGET}:80")
        >> Connected()
        << Starting("connected -- ")
        << Sent(GRANTED)
        << Relayed()
        >> Ended(0, 0)
        << Starting("terminated -- ")
        << recorded(uplink="wan2")
    )


def test_a_way_that_is_lost_while_it_is_dialled_ends_the_session_when_it_was_the_only_one() -> None:
    reason = "no usable way out by sockd.route:1: wan1 is down: link is down"
    assert (
        asks(Playbook(router=router("wan1 ALL")))
        << dialled_by(BY_WAN1, "wan1 by sockd.route:1", f"{TARGET}:80")
        >> WaysChanged(down(WAN1), WAN2)
        << Noted(f"{LOST}: {reason}")
        << Sent(REJECTED)
        << Starting("refused -- ")
        << recorded(end=reason)
        << Closed()
    )


def test_a_change_of_another_uplink_leaves_a_dial_alone() -> None:
    assert (
        asks(Playbook(router=router("wan1,wan2 ALL")))
        << dialled_by(BY_WAN1, "wan1 by sockd.route:1", f"{TARGET}:80")
        >> WaysChanged(WAN1, down(WAN2))
    )


def test_an_address_that_has_left_its_uplink_is_a_lost_way() -> None:
    moved = uplink("wan1", "192.0.2.11")
    assert (
        asks(Playbook(router=router("wan1 ALL")))
        << dialled_by(BY_WAN1, "wan1 by sockd.route:1", f"{TARGET}:80")
        >> WaysChanged(moved)
        << dialled_by(Egress("wan1", "wan1", address("192.0.2.11")), "wan1 by sockd.route:1", f"{TARGET}:80")
    )
