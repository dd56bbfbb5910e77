"""`vagrant up` for real: three machines from our box, and everything that their greeting says can be tried."""

import contextlib
import fcntl
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from image import box
from image.run import NAME, BuildError, need
from tests.support.diskimage import content
from tests.support.waiting import eventually
from tests.vagrant.greeting import LASTING, SHOWS, TOP
from tests.vagrant.ground import ROOT, Ground, end, ground, missing

pytestmark = pytest.mark.full

MACHINES = ("gateway", "inside", "outside")
BOXES = ROOT / "build" / "box"

# Limits, not what it takes: without KVM on a busy machine a boot alone is a minute or two.
UP, PROVISION, TYPED = 2400.0, 2400.0, 180.0


@pytest.fixture(scope="module")
def lab_box() -> Path:
    """The box of libvirt, built if it is missing or was made of something else."""
    if reason := missing():
        pytest.skip(reason)
    try:
        need("mmdebstrap", "sfdisk", "mke2fs", "mkfs.vfat", "mcopy", "qemu-img")
    except BuildError as error:
        pytest.skip(f"no box can be built here: {error}")
    made = BOXES / f"{NAME}-libvirt.box"
    BOXES.mkdir(parents=True, exist_ok=True)
    with open(BOXES / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be building it now
        note, wanted = BOXES / "made-of", content()
        if not made.exists() or not note.exists() or note.read_text() != wanted:
            note.unlink(missing_ok=True)
            box.build(BOXES)
            note.write_text(wanted)
    return made


@pytest.fixture(scope="module")
def lab(lab_box: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The three machines, up and provisioned; it is seen that nothing is left of them when they are destroyed."""
    folder = tmp_path_factory.mktemp("vagrant")
    with contextlib.ExitStack() as first:
        made = first.enter_context(ground(folder / "first"))
        try:
            up(made, lab_box)
        except subprocess.TimeoutExpired as late:
            # libvirt has been seen to stand still, and a new one to go on; a lab that is wrong does not come here
            print(f"vagrant up did not end; once more with a new libvirt. It had said: {late.output}")
            first.close()
            made = first.enter_context(ground(folder / "second"))
            up(made, lab_box)
        yield made
        destroy(made)


def up(made: Ground, lab_box: Path) -> None:
    began = time.monotonic()
    made.succeeded("box", "add", "--name", NAME, str(lab_box))
    said = made.succeeded("up", "--provider", "libvirt", "--no-parallel", timeout=UP)
    print(f"{said}\nvagrant up: {time.monotonic() - began:.0f} s")


def destroy(made: Ground) -> None:
    made.succeeded("destroy", "-f")
    for what in ("list", "net-list"):
        left = made.run("virsh", "-c", "qemu:///system", what, "--all", "--name", timeout=60.0).stdout
        assert not re.search(r"_(gateway|inside|outside)$|^gateway-lab-(inside|outside)$", left, re.MULTILINE), left


def typed(made: Ground, line: str) -> str:
    """What somebody sees who types this: on the inside, or where Vagrant is."""
    words = shlex.split(line)
    if words[0] == "vagrant":
        return made.vagrant(*words[1:], timeout=TYPED)
    return made.vagrant("ssh", "inside", "-c", line, timeout=TYPED)


@pytest.mark.parametrize(("line", "shown"), SHOWS.items(), ids=SHOWS.keys())
def test_what_is_typed_shows_what_the_greeting_says(lab: Ground, line: str, shown: str) -> None:
    said = typed(lab, line)
    assert re.search(shown, said), said


def test_a_session_that_lasts_is_seen_at_the_gateway(lab: Ground) -> None:
    with lab.popen("vagrant", "ssh", "inside", "-c", LASTING.removesuffix("&")) as lasting:
        try:
            assert eventually(
                lambda: ":80" in typed(lab, "vagrant ssh gateway -c 'sudo sockctl sessions'"), within=TYPED
            )
            seen = lab.run("script", "-qefc", f"timeout --foreground 60 {TOP}", "/dev/null", timeout=TYPED).stdout
            assert "SESSION" in seen, seen
            assert re.search(r"www\.example:80|203\.0\.113\.10:80", seen), seen
        finally:
            end(lasting)
            lasting.communicate()


def test_a_login_inside_is_greeted_with_what_there_is_to_try(lab: Ground) -> None:
    assert "Things to try here:" in typed(lab, "cat /etc/motd")


def test_the_only_way_out_of_the_inside_is_by_the_gateway(lab: Ground) -> None:
    routes = typed(lab, "ip -4 route show default")
    assert "via 10.1.0.1 dev eth1" in routes
    assert "eth0" not in routes


@pytest.mark.parametrize("name", MACHINES)
def test_provisioning_again_changes_nothing(lab: Ground, name: str) -> None:
    said = lab.succeeded("provision", name, timeout=PROVISION)
    assert re.search(rf"^{name} +: ok=\d+ +changed=0 +unreachable=0 +failed=0 ", said, re.MULTILINE), said
