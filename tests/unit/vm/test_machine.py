"""qemu's command line, by the hardware that is wanted."""

from pathlib import Path

from tests.support.vm.machine import Card, Hardware, Kernel, Wiring, command

WIRING = Wiring(Path("/t/disk"), Path("/t/variables"), Path("/t/serial"), Path("/t/qmp"))


def made(hardware: Hardware) -> str:
    return " ".join(command(hardware, ("-accel", "tcg"), WIRING))


def test_the_image_itself_is_no_disk_of_the_machine() -> None:
    line = made(Hardware(Path("/image.qcow2")))
    assert "/image.qcow2" not in line
    assert "-drive if=virtio,format=qcow2,file=/t/disk" in line


def test_a_card_has_its_address_and_its_tap_device() -> None:
    line = made(Hardware(Path("/i"), (Card("inside", "52:54:00:00:00:01", "tap-inside"),)))
    assert "-netdev tap,id=net-inside,ifname=tap-inside,script=no,downscript=no" in line
    assert "-device driver=virtio-net-pci,id=inside,netdev=net-inside,mac=52:54:00:00:00:01" in line


def test_a_seed_is_only_read_and_a_firmware_is_there_only_when_wanted() -> None:
    assert "format=raw,readonly=on,file=/s" in made(Hardware(Path("/i"), seed=Path("/s")))
    assert "pflash" not in made(Hardware(Path("/i")))
    assert "if=pflash,format=raw,file=/t/variables" in made(Hardware(Path("/i"), uefi=True))


def test_a_kernel_that_is_given_is_started_with_its_arguments() -> None:
    kernel = Kernel(Path("/k"), Path("/r"), "root=LABEL=x ro")
    assert "-kernel /k -initrd /r -append root=LABEL=x ro" in made(Hardware(Path("/i"), kernel=kernel))
    assert "-kernel" not in made(Hardware(Path("/i")))
