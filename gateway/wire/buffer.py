"""What was received and no message has used yet; the base of both roles' negotiations.

The codecs say how many octets a message has, `Inbox` waits for them, and cuts exactly these off: what follows stays, so
that pipelined messages and early data are never lost. A first chunk that holds its message whole is never copied;
fragments are gathered in a bytearray, so that the work grows with the octets and not with their square.

An error stays for ever, and what comes after it is thrown away.
"""

from gateway.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from gateway.wire.constants import MAX_RETAINED
from gateway.wire.events import NEED_DATA, NeedData

Data = bytes | bytearray
"""What the codecs measure; what they parse is always bytes."""


class Inbox:
    """Received bytes, the peer's end of file, and the error that stays.

    Until the last message of the negotiation has been read (``_settled``), at most `MAX_RETAINED` octets are kept, or
    one chunk if that is larger. After that the rest is the other protocol's, and its bound is the caller's matter.
    """

    __slots__ = ("_data", "_deaf", "_ended", "_failure", "_scanned", "_settled")

    _peer = "peer"

    def __init__(self) -> None:
        self._data: Data = b""
        self._scanned = 0
        self._ended = False
        self._settled = False
        self._deaf = False
        self._failure: ProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        """Take what the peer sent; ``b""`` is its end of file. Ask `next_event` afterwards until it says NEED_DATA.

        Raises LocalProtocolError for data after the end of file.
        """
        if self._data or not data or self._ended or self._deaf:
            self._receive_more(data)
        else:
            self._data = data

    @property
    def trailing_data(self) -> bytes:
        """What followed the last message of the negotiation; empty before that, and after a refusal or an error."""
        return bytes(self._data) if self._settled else b""

    @property
    def retained(self) -> int:
        """How many received octets are kept."""
        return len(self._data)

    def _receive_more(self, data: bytes) -> None:
        if not data:
            self._ended = True
        elif self._ended:
            raise self._misuse("data was received after the end of file")
        elif not self._deaf:
            self._gather(data)

    def _gather(self, data: bytes) -> None:
        held = self._data
        if len(held) + len(data) > MAX_RETAINED and not self._settled:
            self._fail(RemoteProtocolError(f"the {self._peer} sent over {MAX_RETAINED} bytes out of turn"))
        elif isinstance(held, bytearray):
            held += data
        else:
            self._data = bytearray(held) + data

    def _take(self, size: int) -> bytes:
        """Cut the first message off; there must be ``size`` octets."""
        data = self._data
        if size == len(data):
            self._data = b""
            return data if type(data) is bytes else bytes(data)
        self._data = data[size:]
        return bytes(data[:size])

    def _starved(self) -> NeedData:
        """What is said while a message is not whole; raises RemoteProtocolError when it never will be."""
        if not self._ended:
            return NEED_DATA
        where = "in the middle of a message" if self._data else "where a message was due"
        raise RemoteProtocolError(f"the {self._peer} closed the connection {where}")

    def _hang_up(self) -> None:
        """The negotiation is over without success: keep nothing, hear nothing."""
        self._deaf = True
        self._data = b""

    def _fail(self, error: ProtocolError) -> None:
        """The first error stays; what is wrong after it follows from it."""
        self._failure = self._failure or error
        self._hang_up()

    def _misuse(self, fact: str) -> LocalProtocolError:
        """The error to raise when our own side broke the rules; it stays as any other."""
        error = LocalProtocolError(fact)
        self._fail(error)
        return error


def repeated(failure: ProtocolError) -> ProtocolError:
    """The error that stays, to raise again without its reply: that went out with the first one."""
    return type(failure)(str(failure))
