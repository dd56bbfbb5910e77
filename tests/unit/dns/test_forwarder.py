"""The forwarder in a world of its own: zones, aliases, caches, and who is told what when nobody answers."""

import dns.flags
import dns.message
import pytest

from tests.unit.dns.world import Asker, World, heard, lines, reply_to, verdict

SPLIT = """
[internal]
interface = "eth1"
[external]
interface = "wan1"
[resolver]
domain = "corp.example"
[[resolver.zone]]
name = "corp.example"
networks = ["10.0.0.0/8"]
servers = ["10.0.0.53", "10.0.0.54"]
[[resolver.zone]]
name = "."
servers = ["192.0.2.53", "198.51.100.53"]
"""

SOA = "!corp.example. 300 SOA ns. root. 1 2 3 4 60"
OUTER_SOA = "!example. 300 SOA ns. root. 1 2 3 4 60"


@pytest.fixture
def world() -> World:
    return World(SPLIT)


def resolved(world: World, name: str, *records: str) -> Asker:
    """A question that a name server answers."""
    asker = world.ask(name)
    assert world.answer(world.took(), *records)
    return asker


# Which zone


@pytest.mark.parametrize(
    ("name", "kind", "sent"),
    [
        ("www.corp.example", "A", "www.corp.example. A to 10.0.0.53 by eth1"),
        ("WWW.Corp.EXAMPLE", "A", "www.corp.example. A to 10.0.0.53 by eth1"),
        ("corp.example", "MX", "corp.example. MX to 10.0.0.53 by eth1"),
        ("corp.example", "DS", "corp.example. DS to 10.0.0.53 by eth1"),
        ("9.1.2.10.in-addr.arpa", "PTR", "9.1.2.10.in-addr.arpa. PTR to 10.0.0.53 by eth1"),
        ("xcorp.example", "A", "xcorp.example. A to 192.0.2.53 by wan1"),
        ("example", "NS", "example. NS to 192.0.2.53 by wan1"),
        ("8.8.8.8.in-addr.arpa", "PTR", "8.8.8.8.in-addr.arpa. PTR to 192.0.2.53 by wan1"),
    ],
)
def test_the_longest_suffix_has_the_name(world: World, name: str, kind: str, sent: str) -> None:
    world.ask(name, kind)
    assert str(world.took()) == sent


@pytest.mark.parametrize("name", ["5.1.168.192.in-addr.arpa", "printer.local", "x.onion", "x.internal", "a.home.arpa"])
def test_names_that_nobody_outside_has_are_not_asked_there(world: World, name: str) -> None:
    assert verdict(world.ask(name)).startswith("NXDOMAIN")
    assert world.take() == []


def test_a_name_of_one_label_gets_the_default_domain(world: World) -> None:
    asker = world.ask("printer")
    sent = world.took()
    assert str(sent) == "printer.corp.example. A to 10.0.0.53 by eth1"
    world.answer(sent, "printer.corp.example. 300 A 10.0.0.9")
    assert lines(asker) == ["printer. 60 IN CNAME printer.corp.example.", "printer.corp.example. 300 IN A 10.0.0.9"]


def test_without_a_default_domain_a_name_of_one_label_does_not_exist_and_is_not_asked() -> None:
    world = World(SPLIT.replace('domain = "corp.example"', ""))
    assert verdict(world.ask("printer")) == "NXDOMAIN"
    assert world.take() == []


def test_other_types_of_a_name_of_one_label_are_those_of_the_top_level_domain(world: World) -> None:
    world.ask("com", "DS")
    assert str(world.took()) == "com. DS to 192.0.2.53 by wan1"


def test_where_no_zone_has_a_name_it_is_refused() -> None:
    world = World("[[resolver.zone]]\nname = 'corp.example'\nservers = ['10.0.0.53']\n")
    assert verdict(world.ask("www.example.net")).startswith("REFUSED 20 no zone of gateway.toml")
    assert world.take() == []


def test_a_zone_without_servers_has_its_local_names_alone() -> None:
    world = World("[[resolver.zone]]\nname = 'corp.example'\nrecords = ['printer A 10.0.0.9']\n")
    assert lines(world.ask("printer.corp.example")) == ["printer.corp.example. 60 IN A 10.0.0.9"]
    assert verdict(world.ask("other.corp.example")).startswith("NXDOMAIN")


# The cache


def test_an_answer_is_kept_for_its_time_and_grows_old(world: World) -> None:
    resolved(world, "www.corp.example", "www.corp.example. 300 A 10.0.0.9")
    world.wait(100)
    assert lines(world.ask("www.corp.example")) == ["www.corp.example. 200 IN A 10.0.0.9"]
    world.wait(0.5)
    assert lines(world.ask("www.corp.example")) == ["www.corp.example. 200 IN A 10.0.0.9"]
    world.wait(199)
    assert lines(world.ask("www.corp.example")) == ["www.corp.example. 1 IN A 10.0.0.9"]
    world.take()
    world.wait(1)
    world.ask("www.corp.example")
    assert world.took().name == "www.corp.example."


def test_the_question_comes_back_in_the_letters_of_each_client(world: World) -> None:
    resolved(world, "www.corp.example", "www.corp.example. 300 A 10.0.0.9")
    for name in ("wWw.corp.example", "www.CORP.example", "wWw.corp.example"):
        reply = heard(world.ask(name, id=7))
        assert str(reply.question[0].name) == name + "."
        assert reply.id == 7
    assert world.take() == []


def test_what_does_not_exist_is_remembered_too(world: World) -> None:
    asker = world.ask("no.corp.example")
    world.answer(world.took(), SOA, rcode="NXDOMAIN")
    assert verdict(asker) == "NXDOMAIN"
    world.wait(50)
    assert verdict(world.ask("no.corp.example")) == "NXDOMAIN"
    assert world.take() == []
    world.wait(10)
    world.ask("no.corp.example")
    assert len(world.take()) == 1


def test_a_negative_answer_without_its_soa_is_not_kept(world: World) -> None:
    asker = world.ask("no.corp.example")
    world.answer(world.took(), rcode="NXDOMAIN")
    assert verdict(asker) == "NXDOMAIN"
    world.ask("no.corp.example")
    assert len(world.take()) == 1


def test_what_does_not_exist_says_nothing_about_the_names_below(world: World) -> None:
    """D3: an outside server that denies the whole of ``example`` does not deny the inside zone in it."""
    world.ask("example", "SOA")
    world.answer(world.took(), OUTER_SOA, rcode="NXDOMAIN")
    world.ask("www.corp.example")
    assert world.took().server == "10.0.0.53"


def test_who_asks_for_signatures_has_answers_of_his_own(world: World) -> None:
    resolved(world, "www.example.net", "www.example.net. 300 A 192.0.2.80")
    world.ask("www.example.net", want_dnssec=True)
    assert world.took().message.ednsflags & dns.flags.DO
    asker = world.ask("www.example.net", flags=dns.flags.RD | dns.flags.CD)
    sent = world.took()
    assert sent.message.flags & dns.flags.CD
    world.answer(sent, "www.example.net. 300 A 192.0.2.80")
    assert heard(asker).flags & dns.flags.CD


def test_authentic_is_what_the_server_calls_so_for_those_who_ask(world: World) -> None:
    asker = world.ask("www.example.net", want_dnssec=True)
    world.answer(world.took(), "www.example.net. 300 A 192.0.2.80", ad=True)
    assert heard(asker).flags & dns.flags.AD
    asker = world.ask("www.example.net", flags=dns.flags.RD | dns.flags.AD)
    world.answer(world.took(), "www.example.net. 300 A 192.0.2.80", ad=True)
    assert heard(asker).flags & dns.flags.AD
    assert not heard(world.ask("www.example.net")).flags & dns.flags.AD


def test_a_popular_name_is_asked_for_before_it_is_too_old(world: World) -> None:
    resolved(world, "www.corp.example", "www.corp.example. 100 A 10.0.0.9")
    world.wait(91)
    assert lines(world.ask("www.corp.example", stream=True)) == ["www.corp.example. 9 IN A 10.0.0.9"]
    sent = world.took()
    assert world.ask("www.corp.example", stream=True).replies
    assert world.take() == []
    world.answer(sent, "www.corp.example. 100 A 10.0.0.10")
    assert lines(world.ask("www.corp.example", stream=True)) == ["www.corp.example. 100 IN A 10.0.0.10"]


def test_an_answer_that_lives_for_no_time_is_given_and_not_kept(world: World) -> None:
    asker = resolved(world, "www.corp.example", "www.corp.example. 0 A 10.0.0.9")
    assert lines(asker) == ["www.corp.example. 0 IN A 10.0.0.9"]
    world.ask("www.corp.example")
    assert len(world.take()) == 1


# Several who ask


def test_those_who_ask_the_same_wait_for_one_answer(world: World) -> None:
    askers = [world.ask("www.corp.example", client=f"10.0.0.{n}", id=n) for n in range(2, 12)]
    world.answer(world.took(), "www.corp.example. 300 A 10.0.0.9")
    assert [heard(asker).id for asker in askers] == list(range(2, 12))
    assert world.forwarder.counts.coalesced == 9


def test_one_client_has_so_many_questions_outstanding_and_no_more() -> None:
    world = World(SPLIT, outstanding=3)
    for number in range(3):
        world.ask(f"n{number}.corp.example")
    sent = world.take()
    assert verdict(world.ask("n3.corp.example")).startswith("SERVFAIL 0 3 questions of this client")
    assert world.ask("n3.corp.example", client="10.0.0.77").replies == []
    world.take()
    world.answer(sent[0], "n0.corp.example. 300 A 10.0.0.9")
    assert world.ask("n4.corp.example").replies == []


# When nobody answers


def test_a_dead_zone_says_why_and_asks_nobody_else(world: World) -> None:
    asker = world.ask("www.corp.example")
    for _ in range(200):
        world.wait(0.05)
        assert all(sent.server.startswith("10.0.0.") for sent in world.take())
    assert verdict(asker).startswith("SERVFAIL 22 zone corp.example: 10.0.0.5")
    assert "timed out" in verdict(asker)


def test_once_all_servers_are_down_nobody_waits(world: World) -> None:
    for number in range(6):
        world.ask(f"n{number}.corp.example")
    world.wait(10)
    assert any("is down" in line for line in world.troubles)
    world.take()
    asker = world.ask("www.corp.example")
    assert verdict(asker).startswith("SERVFAIL 22 zone corp.example: 10.0.0.53: timed out")
    assert world.take() == []


def test_a_server_that_comes_back_is_found_within_a_second(world: World) -> None:
    for number in range(6):
        world.ask(f"n{number}.corp.example")
    world.wait(10)
    world.take()
    world.wait(1.1)
    probe = world.take()[-1]
    assert probe.name == "corp.example."
    world.answer(probe, "corp.example. 300 SOA ns. root. 1 2 3 4 60")
    assert world.lines == [f"zone corp.example: name server {probe.server} is up"]
    asker = resolved(world, "www.corp.example", "www.corp.example. 300 A 10.0.0.9")
    assert lines(asker)


def test_the_outside_being_dead_does_not_touch_the_inside(world: World) -> None:
    for number in range(6):
        world.ask(f"n{number}.example.net")
    world.wait(10)
    world.take()
    assert lines(resolved(world, "www.corp.example", "www.corp.example. 300 A 10.0.0.9"))


def test_the_next_server_is_asked_when_one_does_not_answer(world: World) -> None:
    asker = world.ask("www.corp.example")
    first = world.took()
    world.wait(0.85)
    second = world.took()
    assert {first.server, second.server} == {"10.0.0.53", "10.0.0.54"}
    assert first.message.id != second.message.id
    world.answer(second, "www.corp.example. 300 A 10.0.0.9")
    assert lines(asker)


def test_a_server_that_can_not_be_reached_costs_no_time() -> None:
    world = World(SPLIT)
    world.broken["10.0.0.53"] = OSError(113, "No route to host")
    world.ask("www.corp.example")
    assert world.took().server == "10.0.0.54"


def test_without_its_way_out_a_zone_is_dead(world: World) -> None:
    world.blocked["."] = "no usable way out by [external]: wan1 is down: link is down"
    asker = world.ask("www.example.net")
    assert verdict(asker) == "SERVFAIL 23 zone .: no usable way out by [external]: wan1 is down: link is down"
    assert world.take() == []


def test_what_failed_is_not_tried_again_at_once(world: World) -> None:
    asker = world.ask("www.example.net")
    for _ in range(2):
        world.answer(world.took(), rcode="SERVFAIL")
    assert verdict(asker).startswith("SERVFAIL 0 zone .: 1")
    assert verdict(world.ask("www.example.net")).startswith("SERVFAIL")
    assert world.take() == []
    world.wait(1.1)
    world.ask("www.example.net")
    assert len(world.take()) == 1


def test_the_extended_error_of_a_name_server_is_passed_on(world: World) -> None:
    asker = world.ask("www.example.net")
    for _ in range(2):
        world.answer(world.took(), rcode="SERVFAIL", ede=(6, "signature expired"))
    assert verdict(asker).startswith("SERVFAIL 6 ")
    assert "signature expired" in verdict(asker)


def test_what_was_known_is_given_when_an_outside_zone_is_dead(world: World) -> None:
    resolved(world, "www.example.net", "www.example.net. 60 A 192.0.2.80")
    world.wait(70)
    asker = world.ask("www.example.net")
    world.wait(1.7)
    assert asker.replies == []
    world.wait(0.2)
    assert verdict(asker).startswith("NOERROR 3")
    assert lines(asker) == ["www.example.net. 30 IN A 192.0.2.80"]
    for number in range(8):
        world.ask(f"n{number}.example.net")
    world.wait(10)
    assert verdict(world.ask("www.example.net")).startswith("NOERROR 3")


def test_an_inside_zone_gives_nothing_old(world: World) -> None:
    resolved(world, "www.corp.example", "www.corp.example. 60 A 10.0.0.9")
    world.wait(70)
    asker = world.ask("www.corp.example")
    world.wait(10)
    assert verdict(asker).startswith("SERVFAIL 22")


def test_what_is_old_does_not_go_past_what_is_known_not_to_exist(world: World) -> None:
    """D9."""
    resolved(world, "www.example.net", "www.example.net. 60 A 192.0.2.80")
    world.wait(70)
    world.ask("www.example.net")
    world.answer(world.took(), "!example.net. 30 SOA ns. root. 1 2 3 4 30", rcode="NXDOMAIN")
    world.wait(40)
    asker = world.ask("www.example.net")
    world.wait(10)
    assert verdict(asker).startswith("NXDOMAIN 19")


# Aliases


def test_an_alias_into_another_zone_is_followed_there(world: World) -> None:
    asker = world.ask("ext.corp.example")
    world.answer(world.took(), "ext.corp.example. 300 CNAME www.example.net.", "www.example.net. 300 A 203.0.113.66")
    sent = world.took()
    assert str(sent) == "www.example.net. A to 192.0.2.53 by wan1"
    world.answer(sent, "www.example.net. 100 A 192.0.2.80")
    assert lines(asker) == ["ext.corp.example. 300 IN CNAME www.example.net.", "www.example.net. 100 IN A 192.0.2.80"]
    world.wait(10)
    again = world.ask("ext.corp.example")
    assert lines(again) == ["ext.corp.example. 290 IN CNAME www.example.net.", "www.example.net. 90 IN A 192.0.2.80"]
    assert world.take() == []


def test_what_one_zone_says_of_another_is_neither_given_nor_kept(world: World) -> None:
    """D2: the alias's target as the first server has it is forgotten."""
    world.ask("ext.example.net")
    poisoned = ("ext.example.net. 300 CNAME secret.corp.example.", "secret.corp.example. 300 A 203.0.113.66")
    world.answer(world.took(), *poisoned)
    assert world.take() == []
    world.ask("secret.corp.example")
    assert world.took().server == "10.0.0.53"


def test_an_outside_name_does_not_lead_into_the_inside(world: World) -> None:
    asker = world.ask("ext.example.net")
    world.answer(world.took(), "ext.example.net. 300 CNAME secret.corp.example.")
    assert verdict(asker).startswith("NOERROR 15 ext.example.net. of zone . is not given: it is an alias into")
    assert lines(asker) == []
    assert world.take() == []


def test_aliases_in_a_circle_end(world: World) -> None:
    asker = world.ask("a.corp.example")
    for number in range(40):
        found = world.take()
        if not found:
            break
        name = found[0].name
        target = "b.example.net." if number % 2 == 0 else "a.corp.example."
        world.answer(found[0], f"{name} 300 CNAME {target}")
    assert verdict(asker).startswith(("SERVFAIL", "NOERROR 15"))


def test_an_alias_that_its_server_does_not_follow_is_followed(world: World) -> None:
    asker = world.ask("a.corp.example")
    world.answer(world.took(), "a.corp.example. 300 CNAME b.corp.example.")
    sent = world.took()
    assert str(sent) == "b.corp.example. A to 10.0.0.53 by eth1"
    world.answer(sent, "b.corp.example. 300 A 10.0.0.9")
    assert len(lines(asker)) == 2


def test_a_long_chain_is_cut_off(world: World) -> None:
    asker = world.ask("n0.corp.example")
    for number in range(20):
        found = world.take()
        if not found:
            break
        world.answer(found[0], f"n{number}.corp.example. 300 CNAME n{number + 1}.corp.example.")
    assert number < 12
    assert verdict(asker).startswith("SERVFAIL 0 more than 8 aliases")


def test_what_an_alias_leads_to_may_not_exist(world: World) -> None:
    asker = world.ask("a.corp.example")
    world.answer(world.took(), "a.corp.example. 300 CNAME b.example.net.")
    world.answer(world.took(), "!example.net. 300 SOA ns. root. 1 2 3 4 60", rcode="NXDOMAIN")
    assert verdict(asker) == "NXDOMAIN"
    assert lines(asker) == ["a.corp.example. 300 IN CNAME b.example.net."]
    assert len(heard(asker).authority) == 1


# The guard


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "0.0.0.0", "192.168.1.1", "192.0.2.1"])
def test_an_outside_name_has_no_inside_address(world: World, address: str) -> None:
    asker = resolved(world, "evil.example.net", f"evil.example.net. 1 A {address}")
    assert verdict(asker).startswith(f"NOERROR 15 evil.example.net. of zone . is not given: {address} is")
    assert lines(asker) == []
    (trouble,) = world.troubles
    assert trouble.startswith("client 10.0.0.9: evil.example.net.")


def test_one_inside_address_among_others_is_enough(world: World) -> None:
    asker = resolved(world, "evil.example.net", "evil.example.net. 1 A 192.0.2.80", "evil.example.net. 1 A 10.0.0.9")
    assert verdict(asker).startswith("NOERROR 15")


def test_ipv4_addresses_count_within_ipv6_ones(world: World) -> None:
    asker = world.ask("evil.example.net", "AAAA")
    world.answer(world.took(), "evil.example.net. 1 AAAA ::ffff:10.0.0.9")
    assert verdict(asker).startswith("NOERROR 15")


def test_exceptions_are_the_administrators() -> None:
    world = World(SPLIT.replace('name = "."', 'name = "."\nallow = ["plex.direct"]'))
    asker = resolved(world, "a.plex.direct", "a.plex.direct. 60 A 10.0.0.9")
    assert lines(asker) == ["a.plex.direct. 60 IN A 10.0.0.9"]
    assert verdict(resolved(world, "a.plex.example", "a.plex.example. 60 A 10.0.0.9")).startswith("NOERROR 15")


def test_an_inside_zone_has_inside_addresses(world: World) -> None:
    assert lines(resolved(world, "www.corp.example", "www.corp.example. 300 A 10.0.0.9"))
    assert world.troubles == []


# Views

VIEWS = """
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.53"]
clients = ["10.1.0.0/16"]
[[resolver.zone]]
name = "corp.example"
servers = ["10.0.0.99"]
[[resolver.zone]]
name = "."
servers = ["192.0.2.53"]
"""


def test_clients_of_different_networks_see_different_zones() -> None:
    """D11: neither hears what was said to the other."""
    world = World(VIEWS)
    world.ask("www.corp.example", client="10.1.0.5")
    sent = world.took()
    assert sent.server == "10.0.0.53"
    world.answer(sent, "www.corp.example. 300 A 10.0.0.1")
    world.ask("www.corp.example", client="10.2.0.5")
    sent = world.took()
    assert sent.server == "10.0.0.99"
    world.answer(sent, "www.corp.example. 300 A 10.0.0.2")
    assert lines(world.ask("www.corp.example", client="10.1.0.6")) == ["www.corp.example. 300 IN A 10.0.0.1"]
    assert lines(world.ask("www.corp.example", client="10.2.0.6")) == ["www.corp.example. 300 IN A 10.0.0.2"]


def test_views_share_the_zones_that_are_the_same() -> None:
    world = World(VIEWS)
    asker = world.ask("www.example.net", client="10.1.0.5")
    world.answer(world.took(), "www.example.net. 300 A 192.0.2.80")
    assert lines(asker) == lines(world.ask("www.example.net", client="10.2.0.5"))
    assert world.take() == []


# Other settings


def test_other_settings_keep_the_answers_of_zones_that_are_the_same(world: World) -> None:
    resolved(world, "www.corp.example", "www.corp.example. 300 A 10.0.0.9")
    resolved(world, "www.example.net", "www.example.net. 300 A 192.0.2.80")
    world.adopt(SPLIT.replace('"192.0.2.53", ', ""))
    assert lines(world.ask("www.corp.example"))
    world.ask("www.example.net")
    assert world.took().server == "198.51.100.53"


def test_an_answer_for_a_zone_that_is_gone_is_still_given_to_who_waits(world: World) -> None:
    asker = world.ask("www.corp.example")
    sent = world.took()
    world.adopt("[[resolver.zone]]\nname = '.'\nservers = ['192.0.2.53']\n")
    world.answer(sent, "www.corp.example. 300 A 10.0.0.9")
    assert lines(asker)
    world.ask("www.corp.example")
    assert world.took().server == "192.0.2.53"


def test_an_alias_that_arrives_after_other_settings_is_followed_by_these(world: World) -> None:
    asker = world.ask("www.example.net")
    sent = world.took()
    world.adopt(SPLIT.replace('"192.0.2.53", ', ""))
    world.answer(sent, "www.example.net. 300 CNAME www.example.org.")
    sent = world.took()
    assert sent.server == "198.51.100.53"
    assert sent.name == "www.example.net.", "what the servers of former settings said is not built upon"
    world.answer(sent, "www.example.net. 300 A 192.0.2.81")
    assert lines(asker) == ["www.example.net. 300 IN A 192.0.2.81"]


def test_who_may_not_ask_any_more_gets_no_alias_followed(world: World) -> None:
    asker = world.ask("www.example.net")
    sent = world.took()
    world.adopt(SPLIT.replace("[resolver]", '[resolver]\nclients = ["10.1.0.0/16"]'))
    world.answer(sent, "www.example.net. 300 CNAME www.example.org.")
    assert verdict(asker).startswith("SERVFAIL 0 the settings have changed meanwhile")
    assert world.take() == []


def test_what_fails_after_other_settings_fails_and_gives_nothing_old() -> None:
    text = SPLIT.replace('name = "."', 'name = "."\nstale = true')
    world = World(text)
    asker = world.ask("www.example.net")
    sent = world.took()
    world.adopt(text.replace('"192.0.2.53", ', ""))
    world.answer(sent, rcode="REFUSED")
    for again in world.take():
        world.answer(again, rcode="REFUSED")
    assert verdict(asker).startswith("SERVFAIL")


# The log


def test_failures_are_written_down_with_client_and_reason(world: World) -> None:
    world.blocked["."] = "wan1 is down"
    world.ask("www.example.net")
    assert world.records == ["10.0.0.9 www.example.net. SERVFAIL zone .: wan1 is down"]


def test_all_questions_are_written_down_if_that_is_wanted() -> None:
    world = World(SPLIT, log_all=True)
    for _ in range(3):
        asker = world.ask("www.corp.example")
        for sent in world.take():
            world.answer(sent, "www.corp.example. 300 A 10.0.0.9")
        assert lines(asker)
    assert world.records == ["10.0.0.9 www.corp.example. NOERROR"] * 3


# Loops


def test_a_question_that_comes_back_from_whom_it_went_to_is_a_loop(world: World) -> None:
    """D5."""
    first = world.ask("www.corp.example")
    sent = world.took()
    assert sent.server == "10.0.0.53"
    second = world.ask_wire(sent.data, client="10.0.0.53")
    assert verdict(second).startswith("SERVFAIL 0 a loop of forwarders: www.corp.example. comes back from 10.0.0.53")
    assert first.replies == []
    assert world.take() == []


def test_a_name_server_that_asks_by_itself_is_no_loop(world: World) -> None:
    world.ask("www.corp.example")
    sent = world.took()
    asker = world.ask("www.corp.example", client="10.0.0.53")
    assert asker.replies == []
    world.answer(sent, "www.corp.example. 300 A 10.0.0.9")
    assert lines(asker)


# Messages


def test_what_does_not_fit_is_cut_for_udp_and_whole_by_tcp(world: World) -> None:
    records = [f"big.corp.example. 300 A 10.0.{n // 256}.{n % 256}" for n in range(1, 100)]
    asker = world.ask("big.corp.example")
    world.say(first := world.took(), reply_to(first, records))
    assert heard(asker).flags & dns.flags.TC
    assert 1200 < len(asker.replies[0]) <= 1232
    whole = world.ask("big.corp.example", stream=True)
    assert len(lines(whole)) == 99
    assert not heard(whole).flags & dns.flags.TC


def test_transfers_of_zones_are_refused_and_any_is_answered_with_little(world: World) -> None:
    for kind in ("AXFR", "IXFR"):
        query = dns.message.make_query("corp.example", kind)
        assert heard(world.ask_wire(query.to_wire(), stream=True)).rcode() == 5
    asker = world.ask("corp.example", "ANY")
    assert [line.split()[3] for line in lines(asker)] == ["HINFO"]
    assert world.take() == []


# Who does not see a zone


PARTLY = SPLIT.replace('name = "corp.example"\n', 'name = "corp.example"\nclients = ["10.1.0.0/16"]\n')


def test_what_a_client_does_not_see_is_not_asked_for_outside_on_his_behalf() -> None:
    world = World(PARTLY)
    for name in ("payroll.corp.example", "corp.example", "payroll"):
        asker = world.ask(name, client="10.2.0.5")
        assert world.take() == []
        assert heard(asker).rcode() in (dns.rcode.NXDOMAIN, dns.rcode.NOERROR)
        assert [one.rdtype for one in heard(asker).authority] == [dns.rdatatype.SOA]
    world.ask("payroll.corp.example", client="10.1.0.5")
    assert str(world.took()) == "payroll.corp.example. A to 10.0.0.53 by eth1"


def test_an_alias_to_what_a_client_does_not_see_leads_nowhere() -> None:
    world = World(PARTLY)
    asker = world.ask("www.example.net", client="10.2.0.5")
    world.answer(world.took(), "www.example.net. 300 CNAME payroll.corp.example.")
    assert world.take() == []
    assert heard(asker).rcode() == dns.rcode.NXDOMAIN


# What the log says


def words(world: World, name: str) -> tuple[str, str]:
    """What a question of the daemon itself is written down with, of the cache and of the server, when it is over."""
    asker = Asker(True)
    query = dns.message.make_query(name, "A", use_edns=0).to_wire()
    pursuit = world.forwarder.resolve(query, world.forwarder.zones.views[0], asker, world.now)
    for sent in world.take():
        world.answer(sent, f"{sent.name} 300 A 192.0.2.80" if sent.way == "wan1" else f"{sent.name} 300 A 10.0.0.9")
    assert pursuit is not None
    assert asker.replies
    return pursuit.cache, pursuit.server


def test_the_log_says_of_the_cache_what_was_the_case_at_the_end_of_the_chain(world: World) -> None:
    resolved(world, "away.corp.example", "away.corp.example. 300 CNAME www.example.net.")
    world.answer(world.took(), "www.example.net. 10 A 192.0.2.80")
    assert words(world, "away.corp.example") == ("hit", "")
    world.wait(20)
    assert words(world, "away.corp.example") == ("miss", "192.0.2.53")
    assert words(world, "a.corp.example")[0] == "miss"
    assert words(world, "a.corp.example")[0] == "hit"


def test_the_log_says_who_waited_with_another(world: World) -> None:
    query = dns.message.make_query("www.corp.example", "A", use_edns=0).to_wire()
    view = world.forwarder.zones.views[0]
    pursuits = [world.forwarder.resolve(query, view, Asker(True), world.now) for _ in range(2)]
    world.answer(world.took(), "www.corp.example. 300 A 10.0.0.9")
    assert [one.cache for one in pursuits if one is not None] == ["miss", "coalesced"]
    assert {one.server for one in pursuits if one is not None} == {"10.0.0.53"}


def test_what_others_can_cause_is_told_as_that_and_what_becomes_of_servers_is_not(world: World) -> None:
    resolved(world, "www.example.net", "www.example.net. 300 A 10.0.0.9")
    assert world.kinds == ["blocked names"]
    world.ask("www.corp.example")
    sent = world.took()
    for _ in range(3):
        world.say(sent, b"nonsense")
    assert world.kinds == ["blocked names", "wrong answers"]
    for _ in range(9):
        world.ask("www.corp.example", client="10.0.0.53")
        world.ask("www.example.net")
        for sent in world.take():
            world.fail(sent, "Connection refused")
        world.now += 1.1
    assert set(world.kinds) <= {"blocked names", "wrong answers", "loops of forwarders"}
    assert any(" is down: " in text for text in world.troubles)
    assert len(world.kinds) < len(world.troubles)


# Another size of the caches


def test_a_reload_with_another_size_of_the_caches_counts_at_once() -> None:
    world = World(SPLIT, capacity=2)

    def known(count: int) -> int:
        for number in range(count):
            resolved(world, f"h{number}.corp.example", f"h{number}.corp.example. 300 A 10.0.0.9")
        return max(len(serving.cache) for serving in world.forwarder.servings)

    assert known(4) == 2
    zones = world.zones(SPLIT)
    world.forwarder.adopt(zones, capacity=2, outstanding=256)
    world.clients.adopt(zones, 0, 256)
    assert known(0) == 2, "the same size keeps what is known"
    for capacity in (3, 1):
        zones = world.zones(SPLIT)
        world.forwarder.adopt(zones, capacity=capacity, outstanding=256)
        world.clients.adopt(zones, 0, 256)
        assert known(4) == capacity
    zones = world.zones(SPLIT.replace("10.0.0.54", "10.0.0.55"))
    world.forwarder.adopt(zones, outstanding=256)
    world.clients.adopt(zones, 0, 256)
    assert known(4) == 1, "also of zones that are new"
