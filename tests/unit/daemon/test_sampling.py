"""What others see of a worker: counts that go on where a dead one left them, and the words of its title."""

from collections.abc import Iterator

import pytest

from gateway.daemon.counters import UNMATCHED, Block, Counter, Slot
from gateway.daemon.sampling import Ledger, Moving, Sampler, Sums, doing
from gateway.net.runner import Limits
from gateway.session.tally import Tally
from gateway.system.journal import Journal
from gateway.system.title import Title
from tests.support.playbook import Connected, Playbook, Received
from tests.support.rawsocks import socks4
from tests.unit.net.stage import House, closed_after


@pytest.fixture
def block() -> Iterator[Block]:
    found = Block()
    yield found
    found.close()


LABELS = {"": UNMATCHED, "sockd.conf:1": 4, "sockd.conf:2": 9}


# The lines


def test_what_a_line_decided_is_in_its_slot_with_the_time_of_the_last_use(block: Block) -> None:
    ledger = Ledger(block)
    uses = ledger.uses(LABELS)
    uses["sockd.conf:1"].relays += 2
    uses["sockd.conf:1"].sent += 10
    uses["sockd.conf:2"].refusals += 1
    assert ledger.write({}, 1000) == Sums(2, 10, 0)
    assert block.slot(4) == Slot(2, 10, 0, 1000)
    assert block.slot(9) == Slot(1, 0, 0, 1000)
    assert block.slot(UNMATCHED) == Slot(0, 0, 0, 0)
    uses["sockd.conf:1"].received += 5
    ledger.write({}, 2000)
    assert block.slot(4) == Slot(2, 10, 5, 1000)


def test_running_relays_count_and_count_once_when_they_end(block: Block) -> None:
    ledger = Ledger(block)
    use = ledger.uses(LABELS)["sockd.conf:1"]
    assert ledger.write({id(use): Moving(1, 100, 200)}, 1000) == Sums(1, 100, 200)
    assert block.slot(4) == Slot(1, 100, 200, 1000)
    use.relays, use.sent, use.received = 1, 150, 250
    assert ledger.write({}, 2000) == Sums(1, 150, 250)
    assert block.slot(4) == Slot(1, 150, 250, 1000)


def test_a_successor_goes_on_from_the_numbers_that_it_finds(block: Block) -> None:
    first = Ledger(block)
    use = first.uses(LABELS)["sockd.conf:1"]
    first.write({id(use): Moving(3, 100, 200)}, 1000)
    second = Ledger(block)
    uses = second.uses(LABELS)
    assert second.write({}, 2000) == Sums(0, 0, 0)
    assert block.slot(4) == Slot(3, 100, 200, 1000)
    uses["sockd.conf:1"].relays += 1
    second.write({}, 3000)
    assert block.slot(4) == Slot(4, 100, 200, 3000)


def test_a_line_that_moved_keeps_its_count_and_sessions_of_the_old_files_count_for_it(block: Block) -> None:
    ledger = Ledger(block)
    old = ledger.uses({"": 0, "sockd.conf:1": 4})
    old["sockd.conf:1"].relays += 1
    ledger.write({}, 1000)
    new = ledger.uses({"": 0, "sockd.conf:1": 7, "sockd.conf:8": 4})
    old["sockd.conf:1"].relays += 1
    new["sockd.conf:8"].relays += 1
    new["sockd.conf:1"].refusals += 1
    ledger.write({}, 2000)
    assert block.slot(4) == Slot(3, 0, 0, 2000)
    assert block.slot(7) == Slot(1, 0, 0, 2000)


def test_lines_that_share_a_slot_are_counted_together(block: Block) -> None:
    ledger = Ledger(block)
    uses = ledger.uses({"sockd.conf:1": 4, "sockd.conf:2": 4})
    uses["sockd.conf:1"].relays += 1
    uses["sockd.conf:2"].relays += 1
    ledger.write({}, 1000)
    assert block.slot(4).hits == 2


# A whole worker


class Desk:
    """A house, and who looks at it."""

    def __init__(self, block: Block) -> None:
        self.house = House(limits=Limits(handshake=60.0, connect=60.0, idle=60.0, sessions=100))
        context = self.house.runner.context
        self.block = block
        self.ledger = Ledger(block)
        context.uses.update(self.ledger.uses({"": 0, "sockd.conf:1": 4, "sockd.conf:2": 9}))
        self.title = Title("worker 1", live=False)
        self.sampler = Sampler(self.house.runner, context.tally, self.ledger, block, Journal(None, None), self.title)

    def look(self) -> dict[str, int]:
        self.sampler.write()
        return {counter.name.lower(): self.block[counter] for counter in Counter if self.block[counter]}


@pytest.fixture
def desk(block: Block, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("setproctitle.setproctitle", lambda _: None)
    monkeypatch.setattr("setproctitle.setthreadtitle", lambda _: None)
    made = Desk(block)
    with closed_after(made.house):
        yield made


def test_sessions_are_counted_while_they_run_and_when_they_have_ended(desk: Desk) -> None:
    assert desk.look() == {"room": 100}
    client, target = desk.house.relayed(desk.house.server())
    desk.house.write(client, b"12345")
    desk.house.read(target, 5)
    running = {"room": 100, "accepted": 1, "connected": 1, "sent": 5}
    assert desk.look() == {**running, "sessions": 1}
    assert desk.block.slot(4)[:3] == (1, 5, 0)
    desk.house.write(target, b"1234567")
    desk.house.read(client, 7)
    client.close()
    target.close()
    desk.house.ended()
    assert desk.look() == {**running, "received": 7}
    assert desk.block.slot(4)[:3] == (1, 5, 7)


def test_what_ended_before_its_relay_is_counted_by_how_it_ended(desk: Desk) -> None:
    desk.house.client(socks4("192.0.2.1", 80))
    desk.house.client(b"\7nonsense")
    desk.house.ended(2)
    found = desk.look()
    assert (found["refused"], found["error"], found["accepted"]) == (1, 1, 2)
    assert "connected" not in found
    assert desk.block.slot(UNMATCHED).hits == 1


def test_a_worker_that_was_started_anew_adds_to_what_there_was(desk: Desk) -> None:
    for counter in Counter:
        desk.block[counter] = 1000
    desk.block.clear_gauges()
    context = desk.house.runner.context
    again = Sampler(desk.house.runner, context.tally, desk.ledger, desk.block, Journal(None, None), desk.title)
    desk.sampler = again
    desk.house.relayed(desk.house.server())
    found = desk.look()
    assert (found["accepted"], found["connected"], found["refused"], found["lost"]) == (1001, 1001, 1000, 1000)
    assert (found["sessions"], found["room"]) == (1, 100)


def test_it_looks_again_by_itself(desk: Desk) -> None:
    desk.house.relayed(desk.house.server())
    desk.house.until(lambda: desk.block[Counter.SESSIONS] == 1)
    assert desk.block[Counter.CONNECTED] == 1


# The title


@pytest.mark.parametrize(("sessions", "words"), [(0, "0 sessions"), (1, "1 session"), (14, "14 sessions")])
def test_a_title_counts_sessions(sessions: int, words: str) -> None:
    assert doing(sessions, Tally()) == words


def test_a_title_has_the_latest_session_in_the_originals_words() -> None:
    tally = Tally()
    play = Playbook()
    Received(socks4("192.0.2.1", 23, b"fr\x1bed"))(play)
    Connected()(play)
    tally.latest = play.session
    assert doing(2, tally) == r"2 sessions; fr\x1bed: telnet(c) to 192.0.2.1"
