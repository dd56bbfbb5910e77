"""An operator who looks on: `gateway.control.protocol.Tail` in a thread, its rows in a list."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.control.client import ControlClient, connected
from gateway.control.protocol import ControlError, Filter, Tail
from tests.support.waiting import eventually


class Lookout:
    """A context manager; ``rows`` grows as records come."""

    def __init__(self, folder: Path, filter: Filter | None = None) -> None:
        """``folder`` is the daemon's."""
        self.rows: list[Any] = []
        self._sock = connected(str(folder / "control.sock"), 10)
        self._client = ControlClient(self._sock)
        self._request = Tail(filter or Filter())
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Lookout":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._client.close()

    def _look(self) -> None:
        try:
            for row in self._client.rows(self._request):
                self.rows.append(row)
        except ControlError:
            pass  # the daemon has ended, or we have

    def is_on(self, serve: Callable[[], object]) -> bool:
        """Have sessions served until one of them is seen; only then nothing is missed any more."""

        def seen() -> bool:
            serve()
            return eventually(lambda: bool(self.rows), within=0.3)

        return eventually(seen)

    def settle(self) -> None:
        """Wait until nothing that has happened already is still on its way."""
        count = -1
        while count != len(self.rows):
            count = len(self.rows)
            time.sleep(0.3)
