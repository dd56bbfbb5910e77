"""DNS rebinding (field-cases D15): an outside name has no inside address, and nobody has to guess why.

The filter goes by zones: inside names have inside addresses without a word of the administrator, outside ones with his
word only, and whoever is refused something finds the reason in the answer and in the log.
"""

from collections.abc import Iterator

import pytest

from tests.support.dnsgateway import extended_error, rcode, records
from tests.support.lying.habits import Extra, Instead
from tests.support.lying.sending import on
from tests.support.splitworld import SplitWorld, split_world
from tests.support.waiting import eventually

BLOCKED = 15


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    with split_world(tmp_path_factory.mktemp("rebinding")) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


REFUSED = [
    pytest.param("rebound.example", "A", "10.0.0.80 is an inside address", id="an address of the inside"),
    pytest.param("mixed.example", "A", "10.0.0.80 is an inside address", id="one of several"),
    pytest.param("private.example", "A", "192.168.1.1 is a private address", id="a private address of nobody here"),
    pytest.param("self.example", "A", "0.0.0.0 is unspecified", id="no address at all"),
    pytest.param("self.example", "AAAA", ":: is unspecified", id="no IPv6 address at all"),
    pytest.param(
        "mapped.example", "AAAA", "::ffff:a00:50 leads to 10.0.0.80, which is an inside address", id="within IPv6"
    ),
    pytest.param("hint.example", "HTTPS", "10.0.0.80 is an inside address", id="a hint of a service"),
    pytest.param("hostile-alias.example", "A", "it is an alias into the inside zone corp.example", id="an alias"),
    pytest.param("to-printer.example", "A", "10.0.0.9 is an inside address", id="an alias of a written name"),
    pytest.param("to-localhost.example", "A", "127.0.0.1 is loopback", id="an alias of localhost"),
    pytest.param("hostile-alias.example", "TXT", "it is an alias into the inside zone corp.example", id="any type"),
]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(("name", "kind", "why"), REFUSED)
def test_an_outside_name_with_an_inside_address_is_refused(
    world: SplitWorld, name: str, kind: str, why: str, tcp: bool
) -> None:
    for _ in range(2):  # not kept either
        answer = world.gateway.ask(name, kind, tcp=tcp)
        assert (rcode(answer), records(answer), answer.authority) == ("NOERROR", [], [])
        assert extended_error(answer) == (BLOCKED, f"{name}. of zone . is not given: {why}")


def test_the_log_says_who_asked_for_what_and_why_it_is_not_given(world: SplitWorld) -> None:
    """Now and then, as clients may ask for such names as often as they like."""
    wanted = "client 127.0.0.9: rebound.example. of zone . is not given: 10.0.0.80 is an inside address"

    def is_said() -> bool:
        world.gateway.ask("rebound.example")
        return wanted in world.gateway.daemon.log()

    assert eventually(is_said, every=0.1)


def test_who_knows_no_edns_gets_no_address_either(world: SplitWorld) -> None:
    answer = world.gateway.ask("rebound.example", edns=False)
    assert (rcode(answer), records(answer), answer.edns) == ("NOERROR", [], -1)


def test_an_answer_that_turns_is_looked_at_each_time(world: SplitWorld) -> None:
    found = [records(world.gateway.ask("turning.example")) for _ in range(6)]
    assert found == [["turning.example. A 198.51.100.9"], []] * 3


def test_real_names_are_not_in_the_way(world: SplitWorld) -> None:
    assert records(world.gateway.ask("www.example")) == ["www.example. A 198.51.100.1"]
    assert records(world.gateway.ask("www.example", "AAAA")) == ["www.example. AAAA 2001:db8::1"]
    assert records(world.gateway.ask("service.example", "HTTPS")) == [
        'service.example. HTTPS 1 . ipv4hint="198.51.100.9"'
    ]
    assert records(world.gateway.ask("alias.example"))[-1] == "www.example. A 198.51.100.1"


def test_inside_names_are_exempt(world: SplitWorld) -> None:
    assert records(world.gateway.ask("www.corp.example")) == ["www.corp.example. A 10.0.0.80"]
    assert records(world.gateway.ask("host.lab")) == ["host.lab. A 10.0.0.81"]
    assert records(world.gateway.ask("80.0.0.10.in-addr.arpa", "PTR")) == [
        "80.0.0.10.in-addr.arpa. PTR www.corp.example."
    ]


@pytest.mark.parametrize(("name", "address"), [("friend.example", "10.0.0.80"), ("www.friend.example", "10.0.0.81")])
def test_the_administrator_may_allow_it(world: SplitWorld, name: str, address: str) -> None:
    assert records(world.gateway.ask(name)) == [f"{name}. A {address}"]


def test_what_is_written_counts_wherever_an_alias_comes_from(world: SplitWorld) -> None:
    """The outside has other data for the names that gateway.toml has."""
    assert records(world.gateway.ask("printer.example")) == ["printer.example. A 10.0.0.9"]
    assert records(world.gateway.ask("to-written.example")) == [
        "to-written.example. CNAME written.example.",
        "written.example. A 198.51.100.77",
    ]
    assert world.outside.heard("written.example") == []


def test_an_address_beside_the_answer_does_not_spoil_it(world: SplitWorld) -> None:
    """What is dropped anyway is no reason to refuse what is left."""
    world.outside.obey(on(Extra(("other.example 60 A 10.0.0.80",), additional=("ns.example 60 A 10.0.0.80",))))
    assert records(world.gateway.ask("www.example")) == ["www.example. A 198.51.100.1"]


def test_an_inside_alias_does_not_lead_back_by_the_outside(world: SplitWorld) -> None:
    """``detour.corp.example`` is a name outside, whose owner makes it an alias of another inside name."""
    answer = world.gateway.ask("detour.corp.example")
    assert records(answer) == []
    why = extended_error(answer)
    assert why is not None
    assert why == (
        BLOCKED,
        "hostile-alias.example. of zone . is not given: it is an alias into the inside zone corp.example",
    )
    assert world.inside.heard("www.corp.example") == []


def test_an_inside_alias_to_an_outside_name_with_an_inside_address_is_refused(world: SplitWorld) -> None:
    world.outside.obey(on(Instead(("edge.example 60 A 10.0.0.80",)), name="edge.example"))
    answer = world.gateway.ask("cdn.corp.example")
    assert records(answer) == []
    assert extended_error(answer) == (BLOCKED, "edge.example. of zone . is not given: 10.0.0.80 is an inside address")


def test_an_allowed_name_may_be_an_alias_into_the_inside(world: SplitWorld) -> None:
    world.outside.obey(on(Instead(("friend.example 60 CNAME www.corp.example.",)), name="friend.example"))
    assert records(world.gateway.ask("friend.example")) == [
        "friend.example. CNAME www.corp.example.",
        "www.corp.example. A 10.0.0.80",
    ]
