"""One sink, the lines that wait for it, and the count of those that were lost.

What a target does not take waits, up to a bound; what is more is lost, and so is what a broken target refuses. The loss
is said in the log itself as soon as the target takes lines again.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gateway.system.alarm import Losses
from gateway.system.sinks import FileSink, Sink

QUEUE_BYTES = 1 << 20


class Outlet:
    """Takes blocks of one or more lines, and never blocks."""

    def __init__(
        self,
        sink: Sink,
        split: Callable[[bytes], list[bytes]],
        loss_line: Callable[[int], bytes],
        losses: Losses,
    ) -> None:
        """``split`` takes a block into lines, each with its end; ``loss_line`` words a loss of so many of them."""
        self._sink = sink
        self._split = split
        self._loss_line = loss_line
        self._losses = losses
        self._queue: deque[bytes] = deque()
        #: lost, and not yet said in the log itself
        self._unsaid = 0

    def flush(self, blocks: Sequence[bytes]) -> bool:
        """Write what waited and then these; whether nothing waits now."""
        if not blocks and not self._queue:
            return True
        pending = deque(blocks)
        try:
            if not self._queue and not self._unsaid:
                self._pass_on(pending)
            self._enqueue(pending)
            if not self._queue or self._drain():
                self._losses.works()
        except OSError as error:
            self._enqueue(pending)
            self._fail(error)
        self._shorten()
        return not self._queue

    def _pass_on(self, pending: deque[bytes]) -> None:
        """What the sink takes as it is, without a look at the single lines."""
        sink = self._sink
        while pending and len(pending[0]) <= sink.chunk and sink.put(pending[0]):
            pending.popleft()

    def _enqueue(self, pending: deque[bytes]) -> None:
        while pending:
            self._queue.extend(self._split(pending.popleft()))

    def _drain(self) -> bool:
        """Whether the sink took anything."""
        sink, queue = self._sink, self._queue
        if self._unsaid:
            if not sink.put(self._loss_line(self._unsaid)):
                return False
            self._unsaid = 0
        before = len(queue)
        while queue:
            group = _first(queue, sink.chunk)
            if not sink.put(b"".join(group)):
                break
            for _ in group:
                queue.popleft()
        return len(queue) < before

    def _fail(self, error: OSError) -> None:
        self._losses.failed(error)
        self._lose(len(self._queue))
        self._queue.clear()

    def _shorten(self) -> None:
        waiting = sum(map(len, self._queue))
        while waiting > QUEUE_BYTES:
            waiting -= len(self._queue.popleft())
            self._lose(1)

    def _lose(self, count: int) -> None:
        self._unsaid += count
        self._losses.lose(count)

    def reopen(self, fd: int) -> None:
        """As `FileSink.reopen`; a descriptor for what is no file is only closed."""
        if isinstance(self._sink, FileSink):
            self._lose(self._sink.reopen(fd))
        else:
            os.close(fd)

    def forget(self) -> None:
        """Leave what waits to somebody else."""
        self._queue.clear()
        self._unsaid = 0


def _first(queue: Iterable[bytes], chunk: int) -> list[bytes]:
    """The first line, and those after it that go with it into so many bytes."""
    group: list[bytes] = []
    size = 0
    for line in queue:
        size += len(line)
        if group and size > chunk:
            break
        group.append(line)
    return group
