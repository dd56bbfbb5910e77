"""User and password on the wire: RFC 1929 for SOCKS5, the Basic scheme of RFC 7617 for HTTP.

No error text in here ever holds what the peer sent: it may be a password, or a part of one.
"""

import binascii

from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.buffer import Data
from gateway.wire.constants import (
    CODE_AT,
    CONTROLS,
    MAX_CREDENTIAL,
    PASSWORD_OK,
    PASSWORD_VERSION,
    PASSWORD_WRONG,
    ULEN_AT,
    Reply5,
)
from gateway.wire.events import Credentials, Refused
from gateway.wire.httphead import has_octets

STATUS_ANSWERS = {
    True: bytes((PASSWORD_VERSION, PASSWORD_OK)),
    False: bytes((PASSWORD_VERSION, PASSWORD_WRONG)),
}
"""VER STATUS, by whether the credentials hold (RFC 1929 §2)."""

_COLON = b":"


def credentials_size(data: Data) -> int:
    """Octets of a client's RFC 1929 message; a lower bound until both lengths have arrived.

    Raises RemoteProtocolError for another version, as when a client goes on to its request without proving anything.
    """
    if data and data[0] != PASSWORD_VERSION:
        fact = f"wrong version ({data[0]:#04x}) where user and password were due"
        raise RemoteProtocolError(fact, STATUS_ANSWERS[False])
    if len(data) <= ULEN_AT:
        return ULEN_AT + 1
    plen_at = _plen_at(data)
    if len(data) <= plen_at:
        return plen_at + 1
    return plen_at + 1 + data[plen_at]


def _plen_at(data: Data) -> int:
    return ULEN_AT + 1 + data[ULEN_AT]


def parse_credentials(message: bytes) -> Credentials:
    """User and password of a whole message. Clients send empty ones against RFC 1929; whether they hold is not ours."""
    plen_at = _plen_at(message)
    return Credentials(message[ULEN_AT + 1 : plen_at], message[plen_at + 1 :])


def encode_credentials(credentials: Credentials) -> bytes:
    """A client's RFC 1929 message. Raises LocalProtocolError unless both have 1 to 255 bytes."""
    user, password = credentials
    if not (0 < len(user) <= MAX_CREDENTIAL and 0 < len(password) <= MAX_CREDENTIAL):
        raise LocalProtocolError(f"user and password must have 1 to {MAX_CREDENTIAL} bytes for SOCKS5")
    return bytes((PASSWORD_VERSION, len(user))) + user + bytes((len(password),)) + password


def status_refusal(message: bytes) -> Refused | None:
    """What a server said to our credentials; None when they hold. Raises RemoteProtocolError for another version."""
    if message[0] != PASSWORD_VERSION:
        raise RemoteProtocolError(f"wrong version ({message[0]:#04x}) in the server's answer to user and password")
    if message[CODE_AT] == PASSWORD_OK:
        return None
    return Refused(Reply5.NOT_ALLOWED, "the server does not accept this user and password")


def decode_basic(token: bytes) -> Credentials:
    """User and password of a Basic token: base64, the user ends at the first colon (RFC 7617 §2).

    Raises ValueError, whose text names the fault and none of the octets.
    """
    pair = _decode_base64(token)
    user, colon, password = pair.partition(_COLON)
    if not colon:
        raise ValueError("the Basic credentials have no colon")
    if len(user) > MAX_CREDENTIAL or len(password) > MAX_CREDENTIAL:
        raise ValueError(f"user or password is longer than {MAX_CREDENTIAL} bytes")
    if has_octets(pair, CONTROLS):
        raise ValueError("user or password holds a control character")
    return Credentials(user, password)


def _decode_base64(token: bytes) -> bytes:
    try:
        plain = binascii.a2b_base64(token)
    except binascii.Error:
        plain = b""
    # The decoder passes over what is not of the alphabet, and its strict mode over superfluous padding.
    if _encode_base64(plain) != token:
        raise ValueError("the Basic credentials are not base64")
    return plain


def _encode_base64(plain: bytes) -> bytes:
    return binascii.b2a_base64(plain, newline=False)


def encode_basic(credentials: Credentials) -> bytes:
    """A Basic token. Raises LocalProtocolError for what RFC 7617 §2 can not carry."""
    user, password = credentials
    if len(user) > MAX_CREDENTIAL or len(password) > MAX_CREDENTIAL:
        raise LocalProtocolError(f"user and password may have {MAX_CREDENTIAL} bytes at most")
    pair = user + _COLON + password
    if _COLON in user or has_octets(pair, CONTROLS):
        raise LocalProtocolError("a user with a colon, or a control character, can not be sent by Basic")
    return _encode_base64(pair)
