"""The client's side of a negotiation with a SOCKS4, SOCKS4A, SOCKS5 or HTTP proxy: a parent proxy, or ourselves under test.

`start` gives the first bytes, then the same verbs as on the server's side: `receive_data`, and `next_event`, which also
says what is to be sent next (`Outgoing`). Everything that changes the state is in this file. The server is not trusted:
what it may send is bounded, and what it may choose is what was offered.
"""

import enum
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from gateway.address import UNSPECIFIED, Endpoint
from gateway.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from gateway.wire import auth, codec4, codec5, httpconnect
from gateway.wire.buffer import Data, Inbox, repeated
from gateway.wire.constants import MAX_INTERIM, RESULT_HEAD, Command, Method, Protocol, Reply5
from gateway.wire.events import NEED_DATA, Established, Listening, NeedData, Outgoing, Refused, Request

ClientEvent = Outgoing | Listening | Established | Refused | NeedData


class State(enum.IntEnum):
    """Where a negotiation stands: what the server owes us."""

    NOT_STARTED = 0
    METHOD = 1
    VERDICT = 2
    REPLY = 3
    #: of a BIND, which is answered twice (RFC 1928 §6, ``spec/socks4.md`` §1.4)
    SECOND_REPLY = 4
    HEAD = 5
    ESTABLISHED = 6
    REFUSED = 7


class _Form(NamedTuple):
    """How a protocol says things, and what the server's first message is."""

    encode: Callable[[Request], bytes]
    first: State
    commands: frozenset[Command]
    refusal: Callable[[Data], Refused | None]
    size: Callable[[Data], int]
    bound: Callable[[bytes], Endpoint]


_FORM4 = _Form(
    codec4.encode_request,
    State.REPLY,
    codec4.reply_refusal,
    codec4.reply_size,
    codec4.parse_bound,
)
