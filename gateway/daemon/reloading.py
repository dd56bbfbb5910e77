"""Other files while the daemon runs: read and checked whole, then made ready by all, then begun by all together.

Until the last step anybody can refuse, and then nothing has changed. Sessions keep the rules that they began with,
unless it is asked to end those that the new ones deny.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.config.settings import Settings
from gateway.control import protocol
from gateway.daemon import messages
from gateway.daemon.adoption import Package, memory_of
from gateway.daemon.children import Child
from gateway.daemon.configuration import Configuration, load
from gateway.daemon.counters import Slots
from gateway.daemon.crew import Crew
from gateway.daemon.doors import Doors, Moves
from gateway.daemon.gathering import Gathering
from gateway.daemon.messages import Network
from gateway.daemon.network import network_of, watched_words
from gateway.daemon.operations import Ruling, rfc3339
from gateway.daemon.restart import waiting_for_a_restart
from gateway.daemon.seat import Seat
from gateway.errors import StartError
from gateway.system.journal import Journal

LOAD_SECONDS = 30.0
"""How long the others may take to make themselves ready."""

SWAP_SECONDS = 10.0
ROUNDS = 5
MAX_NOTES = 50
"""Warnings that are told; a file of thousands of lines may have as many."""

WAIT_SECONDS = 1.0


class Daemon(Protocol):
    """What a reload works on."""

    ruling: Ruling
    network: Network

    @property
    def accepts(self) -> bool:
        """Whether clients are to be accepted."""

    def turn(self, patience: float) -> None:
        """Deal with what comes, for so long at most; see to the dead and the missing. Raises StartError at the end."""

    def takers(self) -> tuple[Child, ...]:
        """The processes that work by the files."""

    def listening_changed(self, *, is_said: bool) -> None:
        """The workers are to hear which sockets there are now; the log too, if it ``is_said``."""


class Reloading:
    """The way to other files."""

    def __init__(
        self,
        daemon: Daemon,
        crew: Crew,
        seat: Seat,
        doors: Doors,
        slots: Slots,
        journal: Journal,
        watcher: Child,
        began_with: Settings,
    ) -> None:
        """``began_with`` are the settings that the daemon was started with."""
        self._daemon = daemon
        self._crew = crew
        self._seat = seat
        self._doors = doors
        self._slots = slots
        self._journal = journal
        self._watcher = watcher
        self._began_with = began_with
        #: what is open only while a reload is under way
        self._move: Moves | None = None
        self._memory: int | None = None

    def forsake(self) -> None:
        """In a new process: hold nothing of a reload that is under way."""
        if self._move is not None:
            self._move.close()
        if self._memory is not None:
            os.close(self._memory)

    def run(self, *, recheck: bool) -> protocol.Reloaded:
        """All files, or none. Raises GatewayError, and then all is as it was."""
        try:
            return self._run(recheck=recheck)
        except OSError as error:
            raise StartError(f"the files can not be loaded now: {error.strerror}") from None

    def _run(self, *, recheck: bool) -> protocol.Reloaded:
        daemon = self._daemon
        old = daemon.ruling.configuration
        new = load(old.texts.path, self._journal.trouble, self._reading)
        slots = slots_of(self._slots, new)
        network = network_of(new.settings, new.kernel, ())
        # What is opened for the new files is closed again if anybody refuses them.
        move = self._move = self._doors.move(new.settings, network, accepts=daemon.accepts)
        try:
            prepared = self._prepare(Package(new.texts, slots))
        except BaseException:
            move.close()
            raise
        finally:
            self._move = None
        daemon.ruling = Ruling(new, slots, daemon.ruling.number + 1, rfc3339(time.time()))
        ended = self._swap(recheck, prepared)
        if _watched(old) != _watched(new):
            # Else the watcher has told it, and may have told other things meanwhile.
            daemon.network = network_of(new.settings, new.kernel, daemon.network.uplinks)
        self._listen(move, new.settings)
        self._watch(old, new)
        self._journal.choose(new.settings.log.classes)
        return self._tell(old, new, ended)

    def _reading(self, path: str, flags: int) -> int:
        """As `gateway.config.source.Opener`. Raises OSError."""
        try:
            return self._seat.reading(path, flags)
        except PermissionError as error:
            why = "Permission denied; sockd opens what its files name as it is written, in folders known at its start"
            raise PermissionError(error.errno, why) from None

    # The two steps

    def _prepare(self, package: Package) -> Mapping[str, int]:
        """Everybody makes himself ready; who has, and as which process. Raises GatewayError, OSError."""
        prepared: dict[str, int] = {}
        self._memory = memory_of(package)
        try:
            # Who is born while the others make themselves ready was born with the old files, and is asked, too.
            for _ in range(ROUNDS):
                takers = [child for child in self._takers() if prepared.get(child.name) != child.pid]
                if not takers:
                    break
                # As the processes that they are now: who dies meanwhile is another one after that.
                asked = {child.name: child.pid for child in takers}
                self._load(takers, self._memory)
                prepared |= asked
        finally:
            os.close(self._memory)
            self._memory = None
        return prepared

    def _takers(self) -> list[Child]:
        return [child for child in self._daemon.takers() if child.name in self._crew.ready]

    def _load(self, takers: Sequence[Child], memory: int) -> None:
        ruling = self._daemon.ruling.number + 1
        asked = self._crew.ask(takers, lambda number: messages.Load(number, ruling), LOAD_SECONDS, descriptors=[memory])
        self._await(asked)
        faults = sorted({answer.fault for answer in asked.answers if answer.fault})
        if faults:
            raise StartError(f"a process can not load the files: {faults[0]}")
        if asked.failures:
            raise StartError(f"not all processes can load the files: {asked.failures}")

    def _swap(self, recheck: bool, prepared: Mapping[str, int]) -> int:
        """The new files rule everywhere; how many sessions they ended. Who does not take them is replaced."""
        ruling = self._daemon.ruling.number
        takers = self._daemon.takers()
        ready = [child for child in takers if prepared.get(child.name) == child.pid]
        for child in takers:
            if child not in ready:
                self._crew.replace(child)  # it is just being born, with the old files, and serves nobody yet
        asked = self._crew.ask(ready, lambda number: messages.Swap(number, ruling, recheck), SWAP_SECONDS)
        self._await(asked)
        for name in (*asked.missing, *asked.unreached):
            self._crew.dismiss_named(name, "goes on with the old files")
        return sum(answer.ended for answer in asked.answers)

    def _await(self, gathering: Gathering) -> None:
        """Until it is over; what comes meanwhile is dealt with. Raises StartError."""
        while not gathering.is_over:
            self._daemon.turn(min(WAIT_SECONDS, gathering.seconds))
            gathering.settle()

    # What follows

    def _listen(self, moves: Moves, settings: Settings) -> None:
        daemon = self._daemon
        before = self._doors.numbers
        self._doors.complete(moves, settings, daemon.network, accepts=daemon.accepts)
        daemon.listening_changed(is_said=self._doors.numbers != before)

    def _watch(self, old: Configuration, new: Configuration) -> None:
        """Another watcher begins where this one was; nothing is kept in the kernel that nobody keeps any more."""
        if _watched(old) != _watched(new):
            self._crew.replace(self._watcher)
        if _keeps_rules(old.settings) and not _keeps_rules(new.settings):
            for fault in self._seat.clear():
                self._journal.trouble(fault)

    def _tell(self, old: Configuration, new: Configuration, ended: int) -> protocol.Reloaded:
        notes = [*map(str, new.warnings), *waiting_for_a_restart(self._began_with, new.settings)]
        if len(notes) > MAX_NOTES:
            notes[MAX_NOTES:] = [f"and {len(notes) - MAX_NOTES} more; sockd -n lists them"]
        changed = new.texts.digest != old.texts.digest
        how = "" if changed else ", as before"
        self._journal.line(f"reloaded -- {len(new.access.rules)} rules, configuration {new.texts.digest[:12]}{how}")
        for note in notes:
            self._journal.line(note)
        return protocol.Reloaded(new.texts.digest, self._daemon.ruling.loaded, changed, ended, tuple(notes))


def slots_of(slots: Slots, configuration: Configuration) -> tuple[int, ...]:
    """The slots of the lines of its ``sockd.conf``."""
    access = configuration.access
    return slots.assign(access, configuration.texts.files[access.path])


def _keeps_rules(settings: Settings) -> bool:
    return settings.multihomed and settings.external.policy_routing


def _watched(configuration: Configuration) -> object:
    """What the watcher works by."""
    settings = configuration.settings
    words = watched_words(settings, configuration.routes, configuration.access)
    return settings.internal, settings.external, settings.uplinks, settings.multihomed, words
