"""The text of a seed is TOML, and says what it was made of."""

import tomllib

import pytest

from tests.support.lab.topology import TWO_NETWORKS
from tests.support.vm.appliance import seed_of
from tests.support.vm.networks import NAMES
from tests.support.vm.seed import seed_toml


def test_keys_and_tables_are_read_again() -> None:
    text = seed_toml(
        "ssh-ed25519 AAAA me", {"outside": {"dhcp": True, "addresses": ("::1/64",)}}, ssh_from=["::/0"], n=1
    )
    assert tomllib.loads(text) == {
        "admin-keys": ["ssh-ed25519 AAAA me"],
        "ssh-from": ["::/0"],
        "n": 1,
        "outside": {"dhcp": True, "addresses": ["::1/64"]},
    }


def test_what_no_seed_has_is_refused() -> None:
    with pytest.raises(TypeError, match="no value of a seed"):
        seed_toml("key", {}, wrong=1.5)


def test_the_lab_s_seed_has_the_addresses_and_gateways_of_its_gateway() -> None:
    seed = tomllib.loads(seed_of("key", NAMES))
    for name, new in NAMES.items():
        card = TWO_NETWORKS.host("gateway").card(name)
        assert seed[new]["addresses"] == list(card.addresses)
    assert [seed[name].get("gateways", []) for name in NAMES.values()] == [
        [],
        ["192.0.2.1", "2001:db8:1::1"],
        ["198.51.100.1", "2001:db8:2::1"],
    ]
    assert "outside2" not in tomllib.loads(seed_of("key"))
