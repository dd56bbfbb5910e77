"""Seeds, as text and as arguments of the kernel: what is understood, and what is said of mistakes."""

import base64
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from appliance import kernelargs
from appliance.seed import Card, Seed, SeedError, parse

BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()
KEY = f"ssh-ed25519 {BLOB} me"
WHOLE = f"""\
hostname = "GW1.corp.example"
admin-keys = ["{KEY}"]
admin-password = "$6$salt$hash/of.it"
dns = ["203.0.113.53", "2001:db8::53"]
ssh-from = ["10.1.0.0/24"]

[inside]
card = "52:54:00:00:00:0A"
addresses = ["10.1.0.1/24", "fd00:1::1/64"]

[outside]
card = "eth1"
addresses = ["192.0.2.10/24", "2001:db8:1::10/64"]
gateways = ["192.0.2.1", "fe80::1"]
"""
LEAST = """\
[inside]
card = "eth0"
addresses = ["10.1.0.1/24"]
[outside]
card = "eth1"
dhcp = true
"""


def refused(text: str) -> list[str]:
    with pytest.raises(SeedError) as caught:
        parse(text, "seed.toml")
    return list(caught.value.problems)


def refused_arguments(cmdline: str) -> list[str]:
    with pytest.raises(SeedError) as caught:
        kernelargs.parse(kernelargs.settings(cmdline))
    return list(caught.value.problems)


def test_a_whole_seed_is_understood() -> None:
    assert parse(WHOLE, "seed.toml") == Seed(
        cards=(
            Card("inside", "52:54:00:00:00:0a", (ip_interface("10.1.0.1/24"), ip_interface("fd00:1::1/64"))),
            Card(
                "outside",
                "eth1",
                (ip_interface("192.0.2.10/24"), ip_interface("2001:db8:1::10/64")),
                (ip_address("192.0.2.1"), ip_address("fe80::1")),
            ),
        ),
        hostname="gw1.corp.example",
        admin_keys=(KEY,),
        admin_password="$6$salt$hash/of.it",
        dns=(ip_address("203.0.113.53"), ip_address("2001:db8::53")),
        ssh_from=(ip_network("10.1.0.0/24"),),
    )


def test_two_cards_are_enough() -> None:
    seed = parse(LEAST, "seed.toml")
    assert [card.name for card in seed.cards] == ["inside", "outside"]
    assert (seed.hostname, seed.admin_keys, seed.dns, seed.cards[1].dhcp) == ("gateway", (), (), True)


def test_a_second_uplink_is_a_table_of_its_own() -> None:
    seed = parse(LEAST + '[outside2]\ncard = "eth2"\naddresses = ["198.51.100.10/24"]\n', "seed.toml")
    assert [card.name for card in seed.cards] == ["inside", "outside", "outside2"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param("hostname =", "hostname", "seed.toml:1:10: Expected '='", id="a line that is not TOML"),
        pytest.param('card = "eth1"', 'card = "eth1', "seed.toml:12:", id="a quote that is not closed"),
        pytest.param("hostname", "host", "seed.toml:1: a seed has no key 'host'; it has hostname,", id="unknown key"),
        pytest.param("gateways", "gateway", "seed.toml:14: [outside] has no key 'gateway'; it has", id="unknown below"),
        pytest.param("[inside]", "[insde]", "seed.toml:7: a seed has no key 'insde'", id="unknown table"),
        pytest.param('"GW1.', '"GW_1.', "seed.toml:1: hostname: 'GW_1.corp.example' is no host name", id="a host name"),
        pytest.param('["10.1.0.0/24"]', '["10.1.0.1/24"]', "seed.toml:5: ssh-from: '10.1.0.1/24' is no", id="bits"),
        pytest.param('["10.1.0.0/24"]', "[]", "seed.toml:5: ssh-from: the list is empty", id="nobody may come"),
        pytest.param('["10.1.0.0/24"]', "1", "seed.toml:5: ssh-from: a list is needed", id="no list"),
        pytest.param("GW1.", "\u212aW1.", "seed.toml:1: hostname: '\u212aW1.corp.example' is no", id="a Kelvin sign"),
        pytest.param("203.0.113.53", "127.0.0.1", "seed.toml:4: dns: 127.0.0.1 is this machine", id="loopback"),
        pytest.param("203.0.113.53", "10.1.0.1", "seed.toml:4: dns: 10.1.0.1 is this machine", id="a ring"),
        pytest.param('"GW1.corp.example"', "1979-13-01", "seed.toml:", id="a date that is none"),
        pytest.param('"GW1.corp.example"', "9" * 5000, "seed.toml:", id="a number without end"),
        pytest.param('"GW1.corp.example"', "[" * 9000, "seed.toml: lists or tables are nested", id="a pit of lists"),
        pytest.param("203.0.113.53", "203.0.113", "seed.toml:4: dns: '203.0.113' is no IPv4", id="no address"),
        pytest.param("10.1.0.1/24", "10.1.0.1", "seed.toml:9: addresses: '10.1.0.1' has no length", id="no length"),
        pytest.param("10.1.0.1/24", "10.1.0.1/33", "seed.toml:9: addresses: '10.1.0.1/33' is no", id="a wrong length"),
        pytest.param("10.1.0.1/24", "10.1.0.255/24", "seed.toml:9: addresses: 10.1.0.255/24 is the", id="broadcast"),
        pytest.param("10.1.0.1/24", "192.0.2.1/16", "seed.toml:13: addresses: 192.0.2.10/24 overlaps", id="overlap"),
        pytest.param('"192.0.2.1"', '"192.0.3.1"', "seed.toml:14: gateways: 192.0.3.1 is in no", id="far gateway"),
        pytest.param('"192.0.2.1"', '"192.0.2.10"', "seed.toml:14: gateways: 192.0.2.10 is an", id="itself"),
        pytest.param('"fe80::1"', '"192.0.2.2"', "seed.toml:14: gateways: there is one", id="two gateways"),
        pytest.param("52:54:00:00:00:0A", "eth1", "seed.toml:12: card: eth1 is the card of inside", id="one card"),
        pytest.param("52:54:00:00:00:0A", "52:54:00:0A", "seed.toml:8: card: '52:54:00:0A' is no", id="no card"),
        pytest.param("ssh-ed25519 ", "ssh-dss ", "seed.toml:2: admin-keys: 'ssh-dss' is no type", id="a type of key"),
        pytest.param(BLOB, BLOB[:20], "seed.toml:2: admin-keys: the ssh-ed25519 key is not whole", id="half a key"),
        pytest.param("$6$salt$hash/of.it", "secret", "seed.toml:3: admin-password: this is no hash", id="a password"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(old: str, new: str, problem: str) -> None:
    assert old in WHOLE
    assert any(line.startswith(problem) for line in refused(WHOLE.replace(old, new, 1)))


def test_a_password_that_was_written_in_clear_is_not_repeated() -> None:
    assert "hunter2" not in "".join(refused(WHOLE.replace("$6$salt$hash/of.it", "hunter2")))


def test_options_before_a_key_are_refused() -> None:
    assert (
        "is no type of a public key" in refused(WHOLE.replace('["ssh', '[\'command="x" ssh').replace('me"]', "me']"))[0]
    )


def test_all_mistakes_are_told_at_once() -> None:
    assert len(refused(WHOLE.replace("GW1", "-").replace("203.0.113.53", "x").replace("fd00:1::1/64", "y"))) == 3


def test_a_gateway_without_an_outside_is_refused() -> None:
    assert refused(LEAST.partition("[outside]")[0]) == [
        "seed.toml: there is no [outside]; a gateway has an inside and an outside card"
    ]


def test_the_inside_leads_nowhere() -> None:
    problems = refused(LEAST.replace("[outside]", 'gateways = ["10.1.0.2"]\n[outside]'))
    assert problems == ["seed.toml:4: [inside] has no key 'gateways'; it has card, addresses"]


def test_dhcp_and_addresses_exclude_each_other() -> None:
    assert "dhcp = true" in refused(LEAST + 'addresses = ["192.0.2.10/24"]\n')[0]


def test_a_card_has_addresses_or_dhcp() -> None:
    assert refused(LEAST.replace("dhcp = true", "dhcp = false"))[0].startswith("seed.toml:4: no addresses")


def test_arguments_of_the_kernel_are_the_same_seed() -> None:
    cmdline = (
        "root=LABEL=gateway-root ro quiet appliance.hostname=gw1 appliance.dns=203.0.113.53,2001:db8::53 "
        "appliance.inside=52:54:00:00:00:0A,10.1.0.1/24,fd00:1::1/64 "
        "appliance.outside=eth1,192.0.2.10/24,via=192.0.2.1 "
        f"appliance.key=ssh-ed25519:{BLOB} appliance.reset\n"
    )
    seed = kernelargs.parse(kernelargs.settings(cmdline))
    assert seed.hostname == "gw1"
    assert seed.admin_keys == (f"ssh-ed25519 {BLOB}",)
    assert seed.cards[0].addresses == (ip_interface("10.1.0.1/24"), ip_interface("fd00:1::1/64"))
    assert seed.cards[1].gateways == (ip_address("192.0.2.1"),)
    assert seed.dns == (ip_address("203.0.113.53"), ip_address("2001:db8::53"))


def test_an_outside_card_by_dhcp_is_an_argument() -> None:
    seed = kernelargs.parse(("appliance.inside=eth0,10.1.0.1/24", "appliance.outside=eth1,dhcp"))
    assert seed.cards[1] == Card("outside", "eth1", dhcp=True)


def test_several_keys_are_several_arguments() -> None:
    other = base64.b64encode(base64.b64decode(BLOB)[:-1] + b"x").decode()
    words = ("appliance.inside=eth0,10.1.0.1/24", "appliance.outside=eth1,dhcp")
    keys = tuple(f"appliance.key=ssh-ed25519:{blob}" for blob in (BLOB, other))
    assert kernelargs.parse((*words, *keys)).admin_keys == (f"ssh-ed25519 {BLOB}", f"ssh-ed25519 {other}")


def test_other_arguments_are_no_seed() -> None:
    assert kernelargs.settings("root=LABEL=gateway-root ro appliance.reset console=ttyS0") == ()


@pytest.mark.parametrize(
    ("cmdline", "problem"),
    [
        ("appliance.insde=eth0", "kernel argument appliance.insde: there is none of this name; there are"),
        ("appliance.dns=1.1.1.1 appliance.dns=9.9.9.9", "kernel argument appliance.dns=: it is there twice"),
        ("appliance.inside=eth0,10.1.0.1", "kernel argument appliance.inside=: addresses: '10.1.0.1' has no length"),
        ("appliance.inside=eth0,10.1.0.1/24", "kernel arguments: there is no [outside]"),
        ("appliance.key=ssh-ed25519", "kernel argument appliance.key=: admin-keys: the ssh-ed25519 key is not whole"),
    ],
)
def test_a_wrong_argument_is_named(cmdline: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in refused_arguments(cmdline))
