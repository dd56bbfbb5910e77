"""What is kept of received bytes, and what is not; with the smallest protocol there is on top."""

import pytest

from gateway.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from gateway.wire.buffer import Inbox, repeated
from gateway.wire.constants import MAX_RETAINED
from gateway.wire.events import NEED_DATA, NeedData


class Triples(Inbox):
    """Messages of three octets."""

    _peer = "other side"

    def next_triple(self) -> bytes | NeedData:
        if self._failure is not None:
            raise repeated(self._failure)
        return self._take(3) if self.retained >= 3 else self._starved()

    def settle(self) -> None:
        self._settled = True

    def misuse(self) -> ProtocolError:
        return self._misuse("that was wrong")

    def hang_up(self) -> None:
        self._hang_up()


def test_a_chunk_that_is_one_message_is_not_copied() -> None:
    inbox = Triples()
    chunk = bytes(bytearray(b"abc"))
    inbox.receive_data(chunk)
    assert inbox.next_triple() is chunk
    assert inbox.retained == 0


def test_messages_are_cut_from_fragments_and_the_rest_stays() -> None:
    inbox = Triples()
    for chunk in (b"a", b"bcd", b"efgh"):
        inbox.receive_data(chunk)
    assert [inbox.next_triple(), inbox.next_triple(), inbox.next_triple()] == [b"abc", b"def", NEED_DATA]
    assert inbox.retained == 2


def test_messages_are_bytes_however_they_came() -> None:
    inbox = Triples()
    inbox.receive_data(b"ab")
    inbox.receive_data(b"cdef")
    assert [type(inbox.next_triple()), type(inbox.next_triple())] == [bytes, bytes]


def test_the_callers_chunk_is_never_changed() -> None:
    inbox = Triples()
    chunk = b"ab"
    inbox.receive_data(chunk)
    inbox.receive_data(b"cd")
    assert chunk == b"ab"


def test_an_end_of_file_inside_a_message_is_an_error_that_names_the_peer() -> None:
    inbox = Triples()
    inbox.receive_data(b"ab")
    inbox.receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="the other side closed the connection in the middle of a message"):
        inbox.next_triple()


def test_an_end_of_file_behind_a_message_is_none_until_the_next_is_due() -> None:
    inbox = Triples()
    inbox.receive_data(b"abc")
    inbox.receive_data(b"")
    assert inbox.next_triple() == b"abc"
    with pytest.raises(RemoteProtocolError, match="where a message was due"):
        inbox.next_triple()


def test_two_ends_of_file_are_one() -> None:
    inbox = Triples()
    inbox.receive_data(b"abc")
    inbox.receive_data(b"")
    inbox.receive_data(b"")
    assert inbox.next_triple() == b"abc"


def test_data_after_the_end_of_file_is_our_own_mistake() -> None:
    inbox = Triples()
    inbox.receive_data(b"")
    with pytest.raises(LocalProtocolError, match="after the end of file"):
        inbox.receive_data(b"a")


def test_there_is_no_trailing_data_before_the_last_message() -> None:
    inbox = Triples()
    inbox.receive_data(b"abcde")
    inbox.next_triple()
    assert inbox.trailing_data == b""
    inbox.settle()
    assert inbox.trailing_data == b"de"


def test_trailing_data_may_be_read_again_and_grows() -> None:
    inbox = Triples()
    inbox.settle()
    inbox.receive_data(b"a")
    assert inbox.trailing_data == b"a"
    inbox.receive_data(b"b")
    assert inbox.trailing_data == inbox.trailing_data == b"ab"


def test_as_much_as_the_limit_is_kept() -> None:
    inbox = Triples()
    inbox.receive_data(b"a")
    inbox.receive_data(b"a" * (MAX_RETAINED - 1))
    assert inbox.retained == MAX_RETAINED
    assert inbox.next_triple() == b"aaa"


def test_more_than_the_limit_is_an_error_and_nothing_is_kept() -> None:
    inbox = Triples()
    inbox.receive_data(b"a")
    inbox.receive_data(b"a" * MAX_RETAINED)
    assert inbox.retained == 0
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        inbox.next_triple()


def test_one_large_chunk_is_the_callers_and_is_kept() -> None:
    inbox = Triples()
    inbox.receive_data(b"a" * (MAX_RETAINED + 1))
    assert inbox.next_triple() == b"aaa"


def test_there_is_no_limit_for_trailing_data() -> None:
    inbox = Triples()
    inbox.settle()
    inbox.receive_data(b"a")
    inbox.receive_data(b"a" * MAX_RETAINED)
    assert inbox.retained == MAX_RETAINED + 1


def test_after_a_misuse_the_error_stays_and_nothing_is_heard() -> None:
    inbox = Triples()
    inbox.receive_data(b"abc")
    inbox.misuse()
    inbox.receive_data(b"def")
    assert inbox.retained == 0
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="that was wrong"):
            inbox.next_triple()


def test_after_the_end_of_a_negotiation_nothing_is_heard() -> None:
    inbox = Triples()
    inbox.receive_data(b"abc")
    inbox.hang_up()
    inbox.receive_data(b"def")
    inbox.receive_data(b"")
    assert (inbox.retained, inbox.trailing_data) == (0, b"")


def test_a_repeated_error_has_no_reply() -> None:
    again = repeated(RemoteProtocolError("a fact", b"a reply"))
    assert isinstance(again, RemoteProtocolError)
    assert (again.fact, again.reply) == ("a fact", b"")
