"""The helper: runs the commands of ``sockd.conf``, so that the processes that hold clients need no right to.

A worker tells it which line is meant and the values of its codes; the words of the command are those of the file.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping

from gateway.daemon.adoption import Adoption, Chosen
from gateway.daemon.answering import attend
from gateway.daemon.configuration import Configuration
from gateway.daemon.logs import reopen
from gateway.daemon.messages import End, Load, Ready, Received, Reopen, Run, Serve, Swap, close_all, receive, send
from gateway.net.shell import CommandRunner
from gateway.policy.command import CommandRefused, expand
from gateway.system.journal import Journal
from gateway.system.sandbox import Kind, confine
from gateway.system.title import Title

TITLE_SECONDS = 1.0
COMPLAINT_SECONDS = 1.0
KEPT = 4
"""Of how many configurations the commands are known: one may be asked for just when the files have changed."""


class Helper:
    """What the process is made of. To be made in a running event loop."""

    def __init__(
        self,
        configuration: Configuration,
        ruling: int,
        journal: Journal,
        channel: socket.socket,
        wishes: Mapping[str, socket.socket],
        title: Title,
        ended: asyncio.Event,
    ) -> None:
        """``ruling`` is the number of the configuration; the workers' wishes come by ``wishes``, one socket each."""
        self._journal = journal
        self._channel = channel
        self._wishes: dict[str, socket.socket] = {}
        self._complained: dict[str, float] = {}
        self._title = title
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._adoption = Adoption(channel, journal.trouble, self._adopt)
        self._templates: dict[int, Mapping[str, str]] = {}
        self._runner = CommandRunner(configuration.settings.timeouts.command, journal.trouble)
        self._ran = 0
        self._know(ruling, configuration)
        attend(self._loop, channel, journal.trouble, self._obey)
        for name, sock in wishes.items():
            self._serve(name, sock)
        self._show()

    def _know(self, ruling: int, configuration: Configuration) -> None:
        self._templates[ruling] = templates(configuration)
        while len(self._templates) > KEPT:
            del self._templates[next(iter(self._templates))]
        self._runner.seconds = configuration.settings.timeouts.command

    def _adopt(self, chosen: Chosen, _recheck: bool) -> int:
        self._know(chosen.ruling, chosen.configuration)
        self._journal.choose(chosen.configuration.settings.log.classes)
        return 0

    def _obey(self, received: Received) -> None:
        """The supervisor says something, or has gone."""
        if isinstance(received.message, End):
            self._loop.remove_reader(self._channel)
            self._ended.set()
        elif isinstance(received.message, Load):
            self._adoption.load(received)
        elif isinstance(received.message, Swap):
            self._adoption.swap(received.message)
        elif isinstance(received.message, Reopen):
            reopen(self._journal, received)
        elif isinstance(received.message, Serve):
            self._serve(received.message.name, socket.socket(fileno=received.descriptors[0]))
        else:
            close_all(received.descriptors)

    def _serve(self, name: str, sock: socket.socket) -> None:
        """A worker was born, and wishes by this socket; what its predecessor wished for is still done."""
        before = self._wishes.get(name)
        if before is not None:
            while before is self._wishes.get(name) and self._take(name, before):
                pass
            self._leave(name, before)
        self._wishes[name] = sock
        self._loop.add_reader(sock, self._take, name, sock)

    def _leave(self, name: str, sock: socket.socket) -> None:
        if self._wishes.get(name) is sock:
            del self._wishes[name]
            self._loop.remove_reader(sock)
            sock.close()

    def _take(self, name: str, sock: socket.socket) -> bool:
        """A worker wants a command run; whether there was one."""
        try:
            received = receive(sock)
        except BlockingIOError:
            return False
        except OSError as error:
            self._complain(name, f"asks for what is no command: {error.strerror}")
            return True
        if received is None:
            self._leave(name, sock)
            return False
        close_all(received.descriptors)
        self._run(name, received)
        return True

    def _run(self, name: str, received: Received) -> None:
        wish = received.message
        template = self._templates.get(wish.ruling, {}).get(wish.origin) if isinstance(wish, Run) else None
        if template is None:
            self._complain(name, "asks for a command that no line of sockd.conf has")
            return
        try:
            command = expand(template, wish.values)
        except CommandRefused as error:
            self._complain(name, str(error))
        else:
            self._ran += 1
            self._runner.run(command)

    def _complain(self, name: str, text: str) -> None:
        """About one worker not more often than once a second."""
        now = self._loop.time()
        if now >= self._complained.get(name, 0.0) + COMPLAINT_SECONDS:
            self._complained[name] = now
            self._journal.trouble(f"{name}: {text}")

    def _show(self) -> None:
        self._title.show(f"{self._runner.running} commands running, {self._ran} run")
        self._loop.call_later(TITLE_SECONDS, self._show)

    async def close(self) -> None:
        """End what runs, and what is just being started."""
        await self._runner.finish()


def templates(configuration: Configuration) -> Mapping[str, str]:
    """The commands by the labels of their lines."""
    access = configuration.access
    found = {rule.label: rule.command for rule in access.rules if rule.command is not None}
    special = (one for one in (access.no_identd, access.bad_id) if one is not None)
    return found | {one.label: one.command for one in special}


def run_helper(
    configuration: Configuration,
    ruling: int,
    journal: Journal,
    channel: socket.socket,
    wishes: Mapping[str, socket.socket],
) -> None:
    """The life of the helper process, which begins with all signals blocked."""
    confinement = confine(Kind.HELPER)
    asyncio.run(_live(configuration, ruling, journal, channel, wishes, Ready(os.getpid(), confinement)))


async def _live(
    configuration: Configuration,
    ruling: int,
    journal: Journal,
    channel: socket.socket,
    wishes: Mapping[str, socket.socket],
    ready: Ready,
) -> None:
    loop = asyncio.get_running_loop()
    journal.attach(loop.call_later)
    ended = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, ended.set)
    for one in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(one, signal.SIG_IGN)  # the supervisor's, also when a whole process group gets them
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    title = Title("helper", live=configuration.settings.sockd.titles)
    helper = Helper(configuration, ruling, journal, channel, wishes, title, ended)
    try:
        send(channel, ready)
        await ended.wait()
    finally:
        await helper.close()
        journal.flush()
