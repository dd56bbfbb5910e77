"""Whoever asks on the control socket, and all that it is told."""

import json
import socket
from typing import Any

from gateway.control.peer import peer_of
from gateway.control.reply import Outbox, Reply


class Operator:
    """One connection; ``reply`` is for what answers it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.peer = peer_of(self.near)
        self.out = Outbox()
        self.is_closed = False
        self.reply = Reply(self)

    def wake(self) -> None:
        """As `Carrier`."""

    def told(self) -> list[dict[str, Any]]:
        """What came since it was looked at last."""
        data = b""
        while not self.out.is_empty:
            self.out.send(self.near)
            data += self.far.recv(1 << 22)
        return [json.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        """It has gone."""
        self.near.close()
        self.far.close()
