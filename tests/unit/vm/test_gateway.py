"""Scenarios of the lab, as they are played on a machine whose cards have other names."""

from tests.support.lab.steps import Curl, Logged, NoPacket, Pull, Run, Step, Wait
from tests.support.lab.topology import GATEWAY, INSIDE
from tests.support.vm.gateway import adapted

NAMES = {"wan1": "outside", "wan2": "outside2"}


def only(step: Step) -> Step:
    (made,) = adapted([step], NAMES, 2.0)
    return made


def test_cards_have_their_own_names_wherever_they_stand() -> None:
    assert only(Pull("wan1")) == Pull("outside")
    assert only(NoPacket("wan2", "203.0.113.10")) == NoPacket("outside2", "203.0.113.10")
    assert only(Run(GATEWAY, ("ip", "link", "show", "wan1"), output="wan1: .*wan10")) == Run(
        GATEWAY, ("ip", "link", "show", "outside"), output="outside: .*wan10"
    )
    assert only(Logged("uplink wan1 is (still )?down", within=1)) == Logged("uplink outside is (still )?down", within=2)


def test_an_answer_may_take_longer_and_a_refusal_may_not() -> None:
    wanted = only(Curl(INSIDE, "http://a/", expect={"host": "outside"}, options=("-4",), within=3))
    assert wanted == Curl(INSIDE, "http://a/", expect={"host": "outside"}, options=("-4", "--max-time", "30"), within=6)
    refused = Curl(INSIDE, "http://a/", options=("--max-time", "0.3"))
    assert only(refused) == refused


def test_a_wait_is_as_long_as_it_is() -> None:
    assert only(Wait(2)) == Wait(2)
