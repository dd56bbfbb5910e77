"""Running a function in a process of its own, which may do to itself what can not be undone."""

import errno
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any

PATIENCE = 60
"""Seconds of a child's life: nothing here may hang."""


def forked(function: Callable[[], Any]) -> Any:
    """What the function returns in a forked child; of an OSError the name of its number, such as ``EPERM``.

    Any other exception, and a child that dies, is an AssertionError here.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(function, reading, writing)
    os.close(writing)
    with open(reading, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(pid, 0)
    assert data, f"the child ended with {os.waitstatus_to_exitcode(status)} and no answer"
    value, trouble = pickle.loads(data)
    assert not trouble, trouble
    return value


def _live(function: Callable[[], Any], reading: int, writing: int) -> None:
    """The child's whole life: it never returns into the test that forked it."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        os.close(reading)
        os.write(writing, pickle.dumps(_outcome(function)))
    finally:
        os._exit(0)


def _outcome(function: Callable[[], Any]) -> tuple[Any, str]:
    try:
        return function(), ""
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error)), ""
    except BaseException:
        return None, traceback.format_exc()
