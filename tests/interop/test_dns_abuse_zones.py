"""What one zone's server says never counts in another zone (field-cases D2, D3), whoever may not ask gets nothing that
is known already (D4), and each client sees its own zones (D11).
"""

from collections.abc import Iterator

import dns.message
import pytest

from tests.support.dnsgateway import CLIENT, extended_error, question, rcode, records, waiting
from tests.support.lying.habits import Drop, Extra, Instead, NoName, Referral
from tests.support.lying.sending import on
from tests.support.splitworld import STRANGER, VIEWER, SplitWorld, split_world

INSIDE_WEB = ["www.corp.example. A 10.0.0.80"]
OUTSIDE_WEB = ["www.example. A 198.51.100.1"]
FORGED_OUTSIDE, FORGED_INSIDE = "203.0.113.66", "10.66.66.66"
ISOLATED = Extra(
    answer=(f"www.example 60 A {FORGED_INSIDE}", f"www.corp.example 60 A {FORGED_OUTSIDE}"),
    authority=("example 60 NS ns.corp.example.", "corp.example 60 NS ns.example.", ". 60 NS ns.corp.example."),
    additional=(f"ns.corp.example 60 A {FORGED_OUTSIDE}", f"www.example 60 A {FORGED_INSIDE}"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitWorld]:
    with split_world(tmp_path_factory.mktemp("zones"), outside_keys={"stale": False}) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(world: SplitWorld) -> None:
    world.calm()


# --- D2: a server speaks for the names of its zone


@pytest.mark.parametrize("is_before", [False, True])
def test_what_the_inside_says_of_the_outside_is_dropped(world: SplitWorld, is_before: bool) -> None:
    lies = Extra(ISOLATED.answer[:1], ISOLATED.authority, ISOLATED.additional, before=is_before)
    world.inside.obey(on(lies))
    for name, wanted in (
        ("www.corp.example", INSIDE_WEB),
        ("x.many.corp.example", ["x.many.corp.example. A 10.0.0.7"]),
    ):
        answer = world.gateway.ask(name)
        assert (records(answer), answer.authority, answer.additional) == (wanted, [], [])
    assert records(world.gateway.ask("www.example")) == OUTSIDE_WEB
    assert world.outside.heard("www.example")


@pytest.mark.parametrize("is_before", [False, True])
def test_what_the_outside_says_of_the_inside_is_dropped(world: SplitWorld, is_before: bool) -> None:
    lies = Extra(ISOLATED.answer[1:], ISOLATED.authority, ISOLATED.additional, before=is_before)
    world.outside.obey(on(lies))
    answer = world.gateway.ask("www.example")
    assert (records(answer), answer.authority, answer.additional) == (OUTSIDE_WEB, [], [])
    assert records(world.gateway.ask("www.corp.example")) == INSIDE_WEB
    assert world.inside.heard("www.corp.example")
    assert world.outside.heard("www.corp.example") == []


@pytest.mark.parametrize("kind", ["A", "AAAA", "ANY", "CNAME", "TXT"])
def test_records_beside_the_answer_are_in_no_cache(world: SplitWorld, kind: str) -> None:
    """Neither as an answer to their own question, of whatever type, nor for whoever wants signatures."""
    world.outside.obey(on(Extra(("www.corp.example 60 TXT forged", f"nobody.example 60 A {FORGED_OUTSIDE}"))))
    world.gateway.ask("www.example", kind)
    world.outside.obey()
    for dnssec in (False, True):
        assert records(world.gateway.ask("www.corp.example", "TXT", dnssec=dnssec)) == [
            'www.corp.example. TXT "inside"'
        ]
        assert rcode(world.gateway.ask("nobody.example", dnssec=dnssec)) == "NXDOMAIN"


def test_an_alias_out_of_the_zone_is_followed_where_it_leads(world: SplitWorld) -> None:
    """The inside server gives an address for the outside name right away, as servers do; it is not the one to say."""
    assert records(world.gateway.ask("cdn.corp.example")) == [
        "cdn.corp.example. CNAME edge.example.",
        "edge.example. A 198.51.100.2",
    ]
    (asked,) = world.outside.heard()
    assert (asked.name, asked.type) == ("edge.example", "A")


def test_an_alias_within_the_zone_is_taken_as_it_is(world: SplitWorld) -> None:
    assert records(world.gateway.ask("alias.corp.example")) == [
        "alias.corp.example. CNAME www.corp.example.",
        *INSIDE_WEB,
    ]
    assert [one.name for one in world.inside.heard()] == ["alias.corp.example"]
    assert records(world.gateway.ask("alias.example")) == ["alias.example. CNAME www.example.", *OUTSIDE_WEB]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(Instead((f"www.example 60 A {FORGED_OUTSIDE}",)), id="an address of another name"),
        pytest.param(Instead(("example 60 DNAME www.corp.example.",)), id="another tree"),
        pytest.param(Instead((f"example 60 A {FORGED_OUTSIDE}",)), id="the name above"),
        pytest.param(Referral("edge.example", ("ns.example",)), id="other servers"),
    ],
)
def test_an_answer_without_its_name_is_no_answer(world: SplitWorld, lie: Instead | Referral) -> None:
    world.outside.obey(on(lie, name="edge.example"))
    answer = world.gateway.ask("edge.example")
    assert records(answer) == []
    assert world.gateway.ask("www.example").answer
    assert FORGED_OUTSIDE not in str(world.gateway.ask("www.example"))
    assert world.outside.heard("ns.example") == []


# --- D3: what is not there outside is there inside


def test_a_domain_that_nobody_outside_knows_is_the_insides_own(world: SplitWorld) -> None:
    """The root's proofs that there is no ``lab`` are known, and say nothing."""
    world.outside.obey(on(NoName("")))
    for name in ("other-lab", "host.other-lab", "nothing.example"):
        assert rcode(world.gateway.ask(name, "MX", dnssec=True)) == "NXDOMAIN"
    for dnssec in (False, True):
        assert records(world.gateway.ask("host.lab", dnssec=dnssec)) == ["host.lab. A 10.0.0.81"]
    assert world.outside.heard("host.lab") == world.outside.heard("lab") == []


def test_what_does_not_exist_says_nothing_of_the_names_below(world: SplitWorld) -> None:
    world.inside.obey(on(NoName("corp.example"), name="many.corp.example"), on(NoName("lab"), name="lab"))
    assert rcode(world.gateway.ask("many.corp.example")) == "NXDOMAIN"
    assert records(world.gateway.ask("www.many.corp.example")) == ["www.many.corp.example. A 10.0.0.7"]
    assert rcode(world.gateway.ask("lab", "SOA")) == "NXDOMAIN"
    assert records(world.gateway.ask("host.lab")) == ["host.lab. A 10.0.0.81"]


def test_what_the_inside_does_not_have_is_not_looked_for_outside(world: SplitWorld) -> None:
    """``new.corp.example`` is in the outside's data, and not in the inside's."""
    answer = world.gateway.ask("new.corp.example")
    assert (rcode(answer), records(answer)) == ("NXDOMAIN", [])
    assert world.outside.heard() == []


@pytest.mark.parametrize("way", ["gone", "silent", "refusing"])
def test_with_the_inside_dead_no_name_of_it_is_asked_outside(world: SplitWorld, way: str) -> None:
    names = ["www.corp.example", "host.lab", "x.many.corp.example", "80.0.0.10.in-addr.arpa", "new.corp.example"]
    if way == "gone":
        world.inside.__exit__(None, None, None)
    else:
        world.inside.obey(on(Drop() if way == "silent" else Referral("corp.example", ("ns.example",))))
    try:
        _ask_of_the_dead(world, names)
        assert records(world.gateway.ask("www.example")) == OUTSIDE_WEB
        assert [one.name for one in world.outside.heard()] == ["www.example"]
    finally:
        if way == "gone":
            world.inside.__enter__()
        world.inside.obey()
    world.calm()  # they are back


def _ask_of_the_dead(world: SplitWorld, names: list[str]) -> None:
    """All at once, since each has to wait for the server."""
    socks = [world.gateway.datagrams() for _ in names]
    for sock, name in zip(socks, names, strict=True):
        sock.send(question(name, "PTR" if name.endswith("arpa") else "A").to_wire())
    for sock in socks:
        with sock:
            answer = dns.message.from_wire(sock.recv(4096))
        why = extended_error(answer)
        assert (rcode(answer), records(answer)) == ("SERVFAIL", [])
        assert why is not None
        assert why[0] == 22
        assert "127.0.0.2" in why[1]


def test_with_the_outside_dead_the_inside_answers(world: SplitWorld) -> None:
    world.outside.obey(on(Drop()))
    with world.gateway.datagrams() as waits:
        for number in range(20):
            waits.send(question(f"x{number}.many.example").to_wire())
        for number in range(20):
            name = f"x{number}.many.corp.example"
            assert records(world.gateway.ask(name)) == [f"{name}. A 10.0.0.7"]
        assert records(world.gateway.ask("host.lab")) == ["host.lab. A 10.0.0.81"]


# --- D4: who may not ask gets nothing, on any way, whatever is known


def _known_to_all(world: SplitWorld) -> list[bytes]:
    """Queries whose answers are kept in every way: hot, in the cache, local, and refusals that need nobody."""
    queries = [
        question("www.corp.example"),
        question("www.example", edns=False),
        question("localhost"),
        question("www.example", "ANY"),
        question("www.example", "AXFR"),
    ]
    for query in queries:
        for _ in range(3):
            assert world.gateway.send(query).question
    broken = question("www.example").to_wire()[:-1]
    return [*(query.to_wire() for query in queries), broken, bytes(12)]


def test_a_stranger_hears_nothing_by_udp(world: SplitWorld) -> None:
    queries = _known_to_all(world)
    with world.gateway.datagrams(STRANGER) as stranger, world.gateway.datagrams() as client:
        for _ in range(2):
            for query in queries:
                stranger.send(query)
        for query in queries:
            client.send(query)
            assert client.recv(4096)[:2] == query[:2]
        assert waiting(stranger) == []


def test_a_stranger_is_hung_up_on(world: SplitWorld) -> None:
    for query in _known_to_all(world):
        framed = len(query).to_bytes(2, "big") + query
        with world.gateway.stream(STRANGER) as stranger, world.gateway.stream() as client:
            client.sendall(framed)
            assert client.recv(4096)
            try:
                stranger.sendall(framed)
                assert stranger.recv(4096) == b""
            except (ConnectionResetError, BrokenPipeError):
                pass


def test_nobody_is_asked_for_a_strangers_sake(world: SplitWorld) -> None:
    with world.gateway.datagrams(STRANGER) as stranger:
        stranger.send(question("stranger.many.example").to_wire())
        assert world.gateway.ask("www.example").answer
    assert [one.name for one in world.outside.heard()] == ["www.example"]


# --- D11: views


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("first", [CLIENT, VIEWER])
def test_what_one_client_sees_another_does_not(world: SplitWorld, first: str, tcp: bool) -> None:
    wanted = {VIEWER: ["www.view.example. A 10.0.0.90"], CLIENT: ["www.view.example. A 198.51.100.90"]}
    second = next(client for client in wanted if client != first)
    for client in (first, first, second, second, first, second):
        assert records(world.gateway.ask("www.view.example", client=client, tcp=tcp)) == wanted[client]
    assert len(world.inside.heard("www.view.example")) == len(world.outside.heard("www.view.example")) == 1


def test_what_two_see_alike_is_asked_for_once(world: SplitWorld) -> None:
    for client in (CLIENT, VIEWER, CLIENT):
        assert records(world.gateway.ask("www.example", client=client)) == OUTSIDE_WEB
    assert len(world.outside.heard("www.example")) == 1


def test_the_outside_does_not_fill_the_cache_of_who_sees_more(world: SplitWorld) -> None:
    """Its answer holds a name that is its own for some clients, and the inside's for others: nobody gets it."""
    world.outside.obey(on(Instead(("alias.example 60 CNAME www.view.example.", "www.view.example 60 A 198.51.100.66"))))
    for client, address in ((CLIENT, "198.51.100.66"), (VIEWER, "")):
        answer = world.gateway.ask("alias.example", client=client)
        assert "10.0.0.90" not in str(answer)
        if not address:
            assert extended_error(answer) is not None
            assert records(answer) == []
    world.outside.obey()
    assert records(world.gateway.ask("www.view.example", client=VIEWER)) == ["www.view.example. A 10.0.0.90"]


def test_strangers_connections_hold_no_place(world: SplitWorld) -> None:
    strangers = [world.gateway.stream(STRANGER) for _ in range(100)]
    try:
        assert world.gateway.ask("www.example", tcp=True).answer
    finally:
        for sock in strangers:
            sock.close()
