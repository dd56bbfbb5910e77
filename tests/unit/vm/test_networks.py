"""The lab with a switch for a gateway, as data."""

from tests.support.lab.topology import GATEWAY, INSIDE, OUTSIDE, OUTSIDE2, TWO_NETWORKS, End
from tests.support.vm.networks import NAMES, cards, switched


def test_the_switch_has_cables_and_no_addresses() -> None:
    made = switched(TWO_NETWORKS, NAMES)
    switch = made.host(GATEWAY)
    assert [(card.name, card.addresses) for card in switch.cards] == [("inside", ()), ("outside", ()), ("outside2", ())]
    assert (switch.routes, switch.targets, switch.names) == ((), False, None)
    assert made.cable(End(GATEWAY, "outside")).other(End(GATEWAY, "outside")) == End(OUTSIDE, "eth0")
    for name in (INSIDE, OUTSIDE, OUTSIDE2):
        assert made.host(name) == TWO_NETWORKS.host(name), "the other hosts are as they were"


def test_what_is_behind_a_card_that_is_left_out_is_left_out() -> None:
    made = switched(TWO_NETWORKS, {"eth1": "inside", "wan1": "outside"})
    assert {host.name for host in made.hosts} == {INSIDE, GATEWAY, OUTSIDE}
    assert len(made.cables) == 2
    assert [card.name for card in cards(made)] == ["inside", "outside"]


def test_each_card_has_its_own_address_and_tap() -> None:
    made = cards(switched(TWO_NETWORKS, NAMES))
    assert len({card.address for card in made}) == len({card.tap for card in made}) == 3
    assert all(len(card.tap) <= 15 for card in made), "names of devices have 15 letters at most"
