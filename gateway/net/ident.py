"""Asking the identd of a client's host (RFC 1413), within a time limit, whatever it answers."""

import asyncio

from gateway.address import Endpoint
from gateway.errors import RemoteProtocolError
from gateway.session.record import escape
from gateway.wire import ident


class IdentClient:
    """Asks from the address that the client connected to, as identd can only know that pair (RFC 1413 §4)."""

    def __init__(self, seconds: float, port: int = ident.PORT) -> None:
        """``seconds`` bounds the whole exchange."""
        self._seconds = seconds
        self._port = port

    async def ask(self, client: Endpoint, local: Endpoint) -> str | None:
        """The user, escaped for the log; None when identd can not be reached, does not know, or talks nonsense."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(client, local)
        except (OSError, TimeoutError, RemoteProtocolError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None

    async def _exchange(self, client: Endpoint, local: Endpoint) -> str | None:
        reader, writer = await asyncio.open_connection(
            str(client.address), self._port, local_addr=(str(local.address), 0), limit=ident.MAX_ANSWER + 2
        )
        try:
            writer.write(ident.question(client.port, local.port))
            await writer.drain()
            line = await reader.readuntil(b"\n")
        finally:
            writer.close()
        user = ident.parse_answer(line, client.port, local.port)
        return None if user is None else escape(user)
