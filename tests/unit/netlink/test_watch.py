"""The watch and a socket that fails; what wakes it on a real kernel is in tests/lab/test_netlink_watch.py."""

import errno

import pytest

from gateway.netlink.watch import Watch


class Failing:
    """A socket that has these errors to tell, one after another, and then nothing more."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def recv(self, _: int) -> bytes:
        """One message, or an error."""
        code = self.codes.pop(0) if self.codes else errno.EAGAIN
        raise OSError(code, "as it was told")

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.mark.parametrize(
    ("codes", "changed"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([errno.EAGAIN], False, id="nothing yet"),
        pytest.param([errno.ENOBUFS], True, id="notices that were lost"),
        pytest.param([errno.ENOBUFS, errno.ENOBUFS], True, id="more that were lost"),
        pytest.param([errno.ENOMEM], True, id="no memory"),
        pytest.param([errno.EBADF] * 20_000, True, id="no socket any more"),
    ],
)
def test_a_failure_counts_as_a_change_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, watch: Watch, codes: list[int], changed: bool
) -> None:
    failing = Failing(*codes)
    with watch:
        watch.close()
        monkeypatch.setattr(watch, "_socket", failing)
        assert watch.drain() is changed
        assert len(failing.codes) in (0, 19_999), "it does not ask for ever"
