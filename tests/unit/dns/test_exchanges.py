"""Questions to name servers: whose answer counts, who has failed, and what one failure means for others."""

import errno

import dns.flags
import dns.message
import pytest

from gateway.address import Address
from gateway.dns.guard import Guard
from gateway.dns.outside import Moved, Ours
from tests.unit.dns.test_forwarder import SPLIT
from tests.unit.dns.world import INSIDE, OWN, Asker, Sent, World, heard, lines, reply_to, verdict

ONE = '[[resolver.zone]]\nname = "."\nservers = ["192.0.2.53"]\n'
TWO_WAYS = '[[resolver.zone]]\nname = "."\nservers = ["192.0.2.53"]\ninterface = "wan1"\n'
A_RECORD = "www.example.net. 300 A 203.0.113.80"


@pytest.fixture
def world() -> World:
    return World(SPLIT)


@pytest.fixture
def lone() -> World:
    """One zone with one server."""
    return World(ONE)


def known_quick(world: World, name: str = "known.example.net") -> None:
    """Its servers have answered at once so far."""
    for number in range(20):
        world.ask(f"{name}{number}")
        for sent in world.take():
            world.answer(sent, f"{sent.name} 300 A 203.0.113.80")


def is_up(world: World, server: str) -> bool:
    found = [one for serving in world.forwarder.servings for one in serving.servers.all if one.text == server]
    return not any(health.is_down for health in found)


def damaged(sent: Sent, *, at: int) -> bytes:
    """The right answer with one wrong octet."""
    data = bytearray(reply_to(sent, [A_RECORD]))
    data[at] ^= 0x20
    return bytes(data)


# What counts


@pytest.mark.parametrize("at", [0, 1, 13], ids=["id", "id too", "letter case"])
def test_what_is_not_exactly_the_answer_is_passed_over(lone: World, at: int) -> None:
    """D1."""
    asker = lone.ask("www.example.net")
    sent = lone.took()
    assert not lone.say(sent, damaged(sent, at=at))
    assert lone.answer(sent, A_RECORD)
    assert lines(asker)


def test_after_three_wrong_answers_it_goes_on_by_tcp_and_that_is_said(lone: World) -> None:
    """D1."""
    asker = lone.ask("www.example.net")
    sent = lone.took()
    assert [lone.say(sent, damaged(sent, at=0)) for _ in range(3)] == [False, False, True]
    again = lone.took()
    assert again.stream
    (trouble,) = lone.troubles
    assert "3 wrong answers as if from 192.0.2.53 for www.example.net." in trouble
    assert lone.say(sent, reply_to(sent, [A_RECORD])), "nobody listens there any more"
    assert asker.replies == []
    lone.answer(again, A_RECORD)
    assert lines(asker)


def test_each_question_has_another_id_and_other_letters(lone: World) -> None:
    for number in range(50):
        lone.ask(f"a-rather-long-name-{number}.example.net")
    found = lone.take()
    assert len({sent.data[:2] for sent in found}) > 40
    assert len({sent.data[12:] for sent in found}) == 50
    assert all(sent.data[12:] != sent.data[12:].lower() for sent in found)


def test_a_server_that_loses_the_case_of_letters_is_asked_by_tcp_from_then_on(lone: World) -> None:
    first = lone.ask("www.example.net")
    sent = lone.took()
    assert not lone.say(sent, reply_to(sent, [A_RECORD])[:12] + reply_to(sent, [A_RECORD])[12:].lower())
    lone.wait(1)
    lone.answer(lone.took(), A_RECORD)
    assert lines(first)
    lone.ask("other.example.net")
    sent = lone.took()
    assert sent.stream
    lone.answer(sent, A_RECORD.replace("www", "other"))
    lone.wait(901)
    lone.ask("third.example.net")
    assert not lone.took().stream


# Who has failed


def test_a_name_that_takes_its_server_long_is_waited_for(lone: World) -> None:
    known_quick(lone)
    asker = lone.ask("slow.example.net")
    sent = lone.took()
    lone.wait(1.5)
    assert asker.replies == []
    lone.answer(sent, "slow.example.net. 300 A 203.0.113.80")
    assert lines(asker)


def test_a_name_may_take_its_server_as_long_as_stubs_wait(lone: World) -> None:
    known_quick(lone)
    asker = lone.ask("slow.example.net")
    sent = lone.take()[0]
    lone.wait(4.5)
    assert asker.replies == []
    lone.answer(sent, "slow.example.net. 300 A 203.0.113.80")
    assert lines(asker)
    silent = lone.ask("silent.example.net")
    lone.wait(6.1)
    assert verdict(silent) == "SERVFAIL 22 zone .: 192.0.2.53: timed out"


def test_slow_names_do_not_make_a_server_one_that_is_down(lone: World) -> None:
    known_quick(lone)
    for number in range(5):
        asker = lone.ask(f"slow{number}.example.net")
        sent = lone.took()
        lone.wait(1.2)
        lone.answer(sent, f"slow{number}.example.net. 300 A 203.0.113.80")
        assert lines(asker)
        lone.take()
    assert is_up(lone, "192.0.2.53")
    assert lone.troubles == []


def test_the_first_answer_counts_whoever_gives_it(world: World) -> None:
    asker = world.ask("www.example.net")
    first = world.took()
    world.wait(0.9)
    second = world.took()
    assert first.server != second.server
    world.answer(first, "www.example.net. 300 A 203.0.113.80")
    assert lines(asker)
    assert second.attempt in world.released
    assert world.say(second, reply_to(second, [A_RECORD]))
    assert len(asker.replies) == 1


def test_silence_is_failure_and_three_in_a_row_is_down(lone: World) -> None:
    for number in range(3):
        assert is_up(lone, "192.0.2.53")
        lone.ask(f"n{number}.example.net")
        lone.wait(0.1)
    lone.wait(7)
    assert not is_up(lone, "192.0.2.53")
    (trouble,) = lone.troubles
    assert trouble == "zone .: name server 192.0.2.53 is down: timed out"


def test_the_limits_of_this_host_are_no_fault_of_a_server(lone: World) -> None:
    lone.broken["192.0.2.53"] = OSError(errno.EMFILE, "Too many open files")
    for number in range(5):
        asker = lone.ask(f"n{number}.example.net")
        sent = lone.took()
        assert sent.stream, "where there is no socket for it, a connection may have room"
        lone.fail(sent, Ours("all connections to it are full of questions"))
        assert verdict(asker) == (
            "SERVFAIL 0 zone .: this gateway is too busy: all connections to it are full of questions"
        )
    assert is_up(lone, "192.0.2.53")


def test_a_zone_with_slow_servers_leaves_room_for_others() -> None:
    world = World(SPLIT, limit=10, outstanding=1000)
    for number in range(10):
        world.ask(f"n{number}.example.net")
    assert verdict(world.ask("n10.example.net")).startswith("SERVFAIL 0 zone .: 10 questions wait for its name servers")
    assert world.ask("www.corp.example").replies == []


def test_a_long_answer_is_an_answer_though_tcp_is_shut(lone: World) -> None:
    for number in range(4):
        lone.ask(f"long{number}.example.net")
        lone.say(sent := lone.took(), reply_to(sent, [], tc=True))
        by_tcp = lone.took()
        assert by_tcp.stream
        lone.fail(by_tcp, "Connection refused")
        lone.take()
        asker = lone.ask(f"short{number}.example.net")
        lone.answer(lone.took(), f"short{number}.example.net. 300 A 203.0.113.80")
        assert lines(asker)
    assert is_up(lone, "192.0.2.53")


def test_what_a_server_refuses_to_say_is_asked_of_the_next(world: World) -> None:
    asker = world.ask("www.example.net")
    world.answer(first := world.took(), rcode="REFUSED")
    world.answer(second := world.took(), A_RECORD)
    assert {first.server, second.server} == {"192.0.2.53", "198.51.100.53"}
    assert lines(asker)
    assert is_up(world, first.server)


def test_a_server_that_only_refers_to_others_is_no_help(lone: World) -> None:
    asker = lone.ask("www.example.net")
    lone.answer(lone.took(), "!example.net. 300 NS ns.example.net.")
    assert verdict(asker) == "SERVFAIL 22 zone .: 192.0.2.53 only refers to other servers"


# EDNS


def test_a_server_without_edns_is_asked_without_from_then_on(lone: World) -> None:
    asker = lone.ask("www.example.net")
    assert lone.answer(lone.took(), rcode="FORMERR", edns=False)
    plain = lone.took()
    assert plain.message.edns < 0
    lone.answer(plain, A_RECORD, edns=False)
    assert lines(asker)
    lone.ask("other.example.net")
    assert lone.took().message.edns < 0


def test_one_odd_question_does_not_take_edns_from_all_others(lone: World) -> None:
    asker = lone.ask("odd.example.net", "TYPE65280")
    lone.answer(lone.took(), rcode="FORMERR", edns=False)
    lone.answer(lone.took(), rcode="FORMERR", edns=False)
    assert verdict(asker).startswith("SERVFAIL")
    lone.ask("www.example.net")
    assert lone.took().message.edns == 0


def test_nothing_of_the_clients_options_goes_further(lone: World) -> None:
    """D8: no client subnet, no cookie."""
    options = [dns.edns.ECSOption("10.1.2.0", 24), dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"cookie!!")]
    lone.ask("www.example.net", options=options)
    assert lone.took().message.options == ()


# Ways out


def by_way(world: World, way: str, name: str = "www.example.net") -> Asker:
    """The look-up of a session that leaves by this way."""
    asker = Asker()
    query = dns.message.make_query(name, "A", use_edns=0).to_wire()
    view = world.forwarder.zones.views[0]
    world.forwarder.resolve(query, view, asker, world.now, (way,))
    return asker


def test_one_sessions_lost_way_is_nobody_elses(lone: World) -> None:
    lone.shut.add("wan2")
    asker = by_way(lone, "wan2")
    assert verdict(asker).startswith("SERVFAIL 23 zone .: wan2 is shut")
    asker = lone.ask("www.example.net")
    lone.answer(lone.took(), A_RECORD)
    assert lines(asker)


def test_silence_by_one_way_says_nothing_of_a_server_by_another(lone: World) -> None:
    for number in range(5):
        by_way(lone, "wan2", f"n{number}.example.net")
        lone.wait(0.1)
    lone.wait(7)
    assert is_up(lone, "192.0.2.53")
    assert lone.troubles == []


def test_a_server_that_is_down_by_the_usual_way_is_asked_by_a_sessions_own(lone: World) -> None:
    for number in range(4):
        lone.ask(f"n{number}.example.net")
    lone.wait(8)
    assert not is_up(lone, "192.0.2.53")
    lone.take()
    asker = by_way(lone, "wan2")
    lone.answer(next(sent for sent in lone.take() if sent.way == "wan2"), A_RECORD)
    assert lines(asker)


# Networks


def test_another_address_of_the_host_leaves_what_is_known(lone: World) -> None:
    lone.ask("www.example.net")
    lone.answer(lone.took(), A_RECORD)
    lone.ask("mine.example.net")
    lone.answer(lone.took(), "mine.example.net. 300 A 203.0.113.99")
    lone.forwarder.networks_changed(Guard(INSIDE, (*OWN, Address(4, 0xCB007163))))  # 203.0.113.99
    assert lines(lone.ask("www.example.net"))
    lone.ask("mine.example.net")
    assert lone.took().name == "mine.example.net."
    lone.forwarder.networks_changed(Guard(INSIDE, ()))
    assert lines(lone.ask("www.example.net"))


def test_who_comes_late_to_a_dead_zone_gets_what_was_known_at_once(world: World) -> None:
    world.ask("www.example.net")
    world.answer(world.took(), "www.example.net. 60 A 203.0.113.80")
    world.wait(70)
    world.ask("www.example.net")
    world.wait(2)
    late = world.ask("www.example.net", client="10.0.0.7")
    assert verdict(late).startswith("NOERROR 3")


# Bugs


def test_what_goes_wrong_for_one_who_waits_is_not_the_others(lone: World) -> None:
    first, second = lone.ask("www.example.net"), lone.ask("www.example.net", client="10.0.0.8")
    calls = iter([True, False])

    def break_once(data: bytes) -> None:
        if next(calls):
            raise ValueError("a bug")
        first.replies.append(data)

    first.reply = break_once  # type: ignore[method-assign]
    lone.answer(lone.took(), A_RECORD)
    assert lines(second)
    assert verdict(first) == "SERVFAIL 0 internal error"
    assert lone.clients.known[b"\x0a\0\0\x09"].outstanding == 0
    assert "internal error with www.example.net.: ValueError: a bug" in lone.troubles


@pytest.mark.parametrize("kind", ["HTTPS", "SVCB", "MX", "TXT", "SRV", "PTR", "CNAME", "TYPE65280", "AAAA"])
def test_a_bare_host_name_never_leaves_whatever_is_asked_of_it(world: World, kind: str) -> None:
    world.ask("fileserver", kind)
    assert world.took().name == "fileserver.corp.example."


def test_a_bare_host_name_that_is_too_long_with_the_domain_does_not_exist() -> None:
    domain = ".".join(["a" * 60] * 4)
    world = World(SPLIT.replace('domain = "corp.example"', f'domain = "{domain}"'))
    assert verdict(world.ask("b" * 20)) == "NXDOMAIN"
    assert world.take() == []


def test_the_flags_of_a_reply_are_those_of_a_recursive_server(lone: World) -> None:
    asker = lone.ask("www.example.net")
    lone.answer(lone.took(), A_RECORD)
    assert heard(asker).flags & ~dns.flags.AD == dns.flags.QR | dns.flags.RD | dns.flags.RA


# Servers that come and go


def test_a_dead_server_is_known_as_such_though_another_one_answers(world: World) -> None:
    for number in range(4):
        asker = world.ask(f"n{number}.example.net")
        first = world.took()
        if first.server == "198.51.100.53":
            break
        world.wait(2.1)
        second = next(sent for sent in world.take() if sent.server == "198.51.100.53")
        world.answer(second, f"n{number}.example.net. 300 A 203.0.113.80")
        assert lines(asker)
        world.wait(3)
        world.take()
    assert not is_up(world, "192.0.2.53")
    assert "zone .: name server 192.0.2.53 is down: timed out" in world.troubles


@pytest.mark.parametrize("seconds", [1.0, 3.0, 4.5])
def test_questions_of_a_short_outage_are_answered_soon_after_its_end(lone: World, seconds: float) -> None:
    askers = [lone.ask(f"n{number}.example.net") for number in range(6)]
    lone.wait(seconds)
    lone.take()
    ended = lone.now
    while not all(asker.replies for asker in askers) and lone.now < ended + 2:
        for sent in lone.take():
            lone.answer(sent, f"{sent.name} 300 A 203.0.113.80")
        lone.wait(0.05)
    refused = [asker for asker in askers if verdict(asker) != "NOERROR"]
    # Those that had heard already that the server was down ask again by themselves.
    again = [lone.ask(f"n{askers.index(asker)}.example.net", stream=True) for asker in refused]
    for sent in lone.take():
        lone.answer(sent, f"{sent.name} 300 A 203.0.113.80")
    assert all(verdict(asker) == "NOERROR" for asker in again)


def test_who_refuses_and_who_is_silent_are_not_waited_for_in_vain(world: World) -> None:
    asker = world.ask("www.example.net")
    world.wait(0.9)
    first, second = world.take()
    world.answer(second, rcode="SERVFAIL")
    world.wait(2.2)
    assert verdict(asker) == f"SERVFAIL 0 zone .: {second.server} says SERVFAIL"
    assert first.attempt.over


def test_answers_by_a_sessions_way_do_not_call_a_server_up_for_all(lone: World) -> None:
    for number in range(4):
        lone.ask(f"n{number}.example.net")
        by_way(lone, "wan2", f"s{number}.example.net")
        for sent in lone.take():
            if sent.way == "wan2":
                lone.answer(sent, f"{sent.name} 300 A 203.0.113.80")
        lone.wait(1)
        lone.take()
    lone.wait(6)
    assert not is_up(lone, "192.0.2.53")


def test_sessions_that_leave_by_the_usual_way_wait_with_the_others() -> None:
    world = World(TWO_WAYS)
    world.ask("www.example.net")
    by_way(world, "wan1")
    by_way(world, "wan2")
    assert len(world.take()) == 1, "the zone names its own way, whoever asks"


def test_what_is_broken_does_not_pass_for_lost_letters(lone: World) -> None:
    lone.ask("evil.example.net")
    sent = lone.took()
    for _ in range(3):
        lone.say(sent, reply_to(sent, ["evil.example.net. 0 CNAME evil.example.net."]))
    by_tcp = lone.took()
    lone.answer(by_tcp, "evil.example.net. 300 A 203.0.113.80")
    lone.ask("www.example.net")
    assert not lone.took().stream


def test_a_lost_way_or_socket_is_no_failure_of_the_server(lone: World) -> None:
    askers = [lone.ask(f"n{number}.example.net") for number in range(5)]
    sent = lone.take()
    lone.fail(sent[0], "Connection refused")
    for one in sent[1:]:
        lone.fail(one, Moved("Connection refused"))
    again = lone.take()
    assert is_up(lone, "192.0.2.53")
    for one in again:
        lone.answer(one, f"{one.name} 300 A 203.0.113.80")
    assert sum(bool(asker.replies) and verdict(asker) == "NOERROR" for asker in askers) >= 4


def test_the_hints_of_services_are_addresses_too() -> None:
    world = World(SPLIT.replace('name = "."', 'name = "."\nallow = ["x.example.org"]'))
    asker = world.ask("evil.example.net", "HTTPS")
    world.answer(world.took(), "evil.example.net. 300 CNAME x.example.org.")
    world.answer(world.took(), "x.example.org. 300 HTTPS 1 . ipv4hint=10.0.0.7")
    assert verdict(asker).startswith("NOERROR 15 evil.example.net. of zone . is not given: 10.0.0.7 is")


@pytest.mark.parametrize("way", ["wan1", "wan2"])
def test_a_server_that_can_not_be_reached_at_all_is_not_asked_for_ever(lone: World, way: str) -> None:
    lone.broken["192.0.2.53"] = OSError(errno.ENETUNREACH, "Network is unreachable")
    assert verdict(by_way(lone, way)).startswith("SERVFAIL 22 zone .: 192.0.2.53")
    assert verdict(lone.ask("www.example.org")).startswith("SERVFAIL 22 zone .: 192.0.2.53: Network is unreachable")
