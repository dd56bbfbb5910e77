"""Running the commands of ``sockd.conf``: bounded in number and time, and nothing ever waits for them."""

import asyncio
import os
import signal
from collections.abc import Callable

MAX_RUNNING = 32
LOOK_SECONDS = 0.2
FINISH_SECONDS = 1.0
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""All that a command gets to know of the environment that the daemon was started in."""


class CommandRunner:
    """The commands of the daemon. Each gets /dev/null for its standard descriptors and a session of its own."""

    def __init__(self, seconds: float, trouble: Callable[[str], None]) -> None:
        """``seconds`` is each command's time; ``trouble`` is told of commands that were not run or ran too long."""
        self.seconds = seconds
        self._trouble = trouble
        self._running: set[asyncio.Task[None]] = set()
        self._starts: set[asyncio.Task[asyncio.subprocess.Process]] = set()
        #: the process groups that have not ended
        self._groups: set[int] = set()
        self._closed = asyncio.Event()

    @property
    def running(self) -> int:
        """How many run now."""
        return len(self._running)

    def run(self, command: str) -> None:
        """Start ``/bin/sh -c command`` (`spec/socks4.md` §3.6), unless too many are running."""
        if len(self._running) >= MAX_RUNNING:
            self._trouble(f"{MAX_RUNNING} commands of sockd.conf are running already; not run: {command[:60]}")
            return
        task = asyncio.get_running_loop().create_task(self._run(command))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, command: str) -> None:
        if self._closed.is_set():
            return
        start = asyncio.get_running_loop().create_task(_started(command))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)
        try:
            process = await start
        except OSError as error:
            self._trouble(f"cannot run a command of sockd.conf: {error.strerror}")
            return
        self._groups.add(process.pid)
        if self._closed.is_set():
            self.close()  # it was being started when all others were ended
        try:
            async with asyncio.timeout(self.seconds):
                await process.wait()
                await _until_empty(process.pid)
        except TimeoutError:
            self._trouble(f"a command of sockd.conf ran longer than {self.seconds:g} s and was ended: {command[:60]}")
            _kill_group(process.pid)
            await process.wait()
        finally:
            self._groups.discard(process.pid)

    def close(self) -> None:
        """End what runs: no command outlives the daemon that asked for it."""
        self._closed.set()
        for leader in self._groups:
            _kill_group(leader)

    async def finish(self) -> None:
        """`close`, and end those too that were just being started.

        The loop could not end by itself: cancelled in the middle of a start, asyncio waits for that process for ever.
        """
        self.close()
        if self._starts:
            await asyncio.wait(self._starts, timeout=FINISH_SECONDS)


async def _started(command: str) -> asyncio.subprocess.Process:
    null = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command,
        stdin=null, stdout=null, stderr=null, env=ENVIRONMENT, cwd="/", start_new_session=True,
    )  # fmt: skip


async def _until_empty(leader: int) -> None:
    """Wait for what a command left in the background: it counts, and ends, with its command."""
    while True:
        try:
            os.killpg(leader, 0)
        except (ProcessLookupError, PermissionError):
            return
        await asyncio.sleep(LOOK_SECONDS)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended, or has become another user's (sudo)
