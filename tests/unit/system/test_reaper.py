"""Orphans become the reaper's children, and are let go; its own children are not taken from who waits for them."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial

from gateway.system.reaper import become_reaper, go_on_when_orphaned, reap_orphans
from tests.support.forked import forked
from tests.support.waiting import eventually


def child(life: Callable[[], object]) -> int:
    pid = os.fork()
    if not pid:
        try:
            life()
        finally:
            os._exit(7)
    return pid


def grandchild(life: Callable[[], object]) -> int:
    """A process whose parent has gone."""
    reading, writing = os.pipe()

    def between() -> None:
        pid = child(life)
        os.write(writing, str(pid).encode())

    os.waitpid(child(between), 0)
    pid = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    return pid


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_an_orphan_below_is_ours_and_is_gone_when_it_has_ended() -> None:
    def work() -> tuple[bool, bool]:
        become_reaper()
        pid = grandchild(lambda: time.sleep(600))
        ours = parent_of(pid) == os.getpid()
        os.kill(pid, signal.SIGKILL)

        def gone() -> bool:
            reap_orphans(())
            return not is_there(pid)

        return ours, eventually(gone)

    assert forked(work) == (True, True)


def test_who_is_known_is_left_for_who_waits_for_it() -> None:
    def work() -> tuple[bool, int]:
        become_reaper()
        pid = child(lambda: None)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        reap_orphans({pid})
        still_there = is_there(pid)
        return still_there, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert forked(work) == (True, 7)


def test_one_that_runs_is_not_waited_for() -> None:
    def work() -> bool:
        become_reaper()
        pid = grandchild(lambda: time.sleep(600))
        reap_orphans(())
        runs = is_there(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return runs

    assert forked(work) is True


def test_several_that_have_ended_are_let_go_at_once() -> None:
    def work() -> int:
        become_reaper()
        pids = [grandchild(lambda: None) for _ in range(5)]
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        reap_orphans(())
        return sum(map(is_there, pids))

    assert forked(work) == 0


def test_without_any_child_nothing_happens() -> None:
    assert forked(lambda: reap_orphans(())) is None


def test_one_that_is_stopped_goes_on_when_its_parent_dies_if_it_said_so() -> None:
    def stopped_below(before: Callable[[], object]) -> tuple[int, int]:
        """A parent that waits, and its child that is stopped."""
        reading, writing = os.pipe()

        def stop() -> None:
            before()
            os.write(writing, b"%d" % os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)

        def between() -> None:
            child(stop)
            time.sleep(600)

        parent = child(between)
        found = parent, int(os.read(reading, 20))
        os.close(reading)
        os.close(writing)
        return found

    def state(pid: int) -> str:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def is_stopped(pid: int) -> bool:
        return state(pid) == "T"

    def work() -> tuple[str, int]:
        become_reaper()
        pairs = [stopped_below(before) for before in (lambda: None, go_on_when_orphaned)]
        for parent, pid in pairs:
            assert eventually(partial(is_stopped, pid))
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
        (_, without), (_, with_it) = pairs
        status = os.waitstatus_to_exitcode(os.waitpid(with_it, 0)[1])
        still = state(without)
        os.kill(without, signal.SIGKILL)
        os.waitpid(without, 0)
        return still, status

    assert forked(work) == ("T", 7)
