"""What a tree is built from, and what is taken out of it again; the building itself is tested by its boot."""

import os
from pathlib import Path

import pytest

from image import grub, tree
from image.run import ROOT, BuildError

EXAMPLE = """\
# See sources.list(5)
deb http://mirror.example/debian bookworm main contrib non-free
deb http://mirror.example/security bookworm-security main
#deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/other bookworm contrib
"""
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as building does; `sudo make test` runs it")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    texts = {
        "usr/share/doc/apt/examples/sources.list": EXAMPLE,
        "etc/apt/sources.list": "deb http://inner.example/ bookworm main\n",
        "etc/apt/sources.list.d/inner.sources": "URIs: http://inner.example/\n",
        "etc/apt/apt.conf.d/99mmdebstrap": 'Acquire::Check-Valid-Until "false";\n',
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap": "path-exclude=/usr/share/man/*\n",
        "etc/ssh/ssh_host_ed25519_key": "secret",
        "etc/ssh/sshd_config": "Port 22\n",
        "etc/machine-id": "0123\n",
        "etc/passwd-": "old",
        "var/log/apt/term.log": "words of the build",
        "var/lib/apt/lists/inner.example_Packages": "x",
        "var/cache/apt/pkgcache.bin": "x",
        "var/tmp/image/variables.json": "{}",
    }
    for name, text in texts.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def test_nothing_of_the_build_host_is_left(built: Path) -> None:
    tree.clean(built)
    left = [path for path in built.rglob("*") if path.is_file() and "inner.example" in path.read_text()]
    assert left == []
    assert not (built / "etc/apt/apt.conf.d/99mmdebstrap").exists()
    assert list((built / "var/tmp").iterdir()) == []


def test_keys_identifiers_and_logs_are_those_of_nobody(built: Path) -> None:
    tree.clean(built)
    assert sorted(path.name for path in (built / "etc/ssh").iterdir()) == ["sshd_config"]
    assert (built / "etc/machine-id").read_text() == ""
    assert (built / "var/log/apt/term.log").read_text() == ""
    assert not (built / "etc/passwd-").exists()


def test_the_sources_are_the_public_ones_free_packages_only(built: Path) -> None:
    tree.clean(built)
    assert (built / "etc/apt/sources.list").read_text() == (
        "deb http://mirror.example/debian bookworm main\ndeb http://mirror.example/security bookworm-security main\n"
    )


def test_what_dpkg_leaves_out_it_leaves_out_in_upgrades_too(built: Path) -> None:
    tree.clean(built)
    assert (built / "etc/dpkg/dpkg.cfg.d/appliance").read_text() == "path-exclude=/usr/share/man/*\n"


def test_a_tree_without_the_example_of_sources_is_refused(built: Path) -> None:
    (built / "usr/share/doc/apt/examples/sources.list").unlink()
    with pytest.raises(BuildError, match="no sources"):
        tree.clean(built)


def test_a_link_in_the_tree_does_not_lead_out_of_it(built: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("of the host")
    (built / "etc/resolv.conf").symlink_to(outside)
    (built / "var/log/link").symlink_to(outside)
    (built / "var/cache/apt/link").symlink_to(outside)
    tree.clean(built)
    assert outside.read_text() == "of the host"
    assert (built / "etc/resolv.conf").read_text() == "nameserver 127.0.0.1\n"


def test_our_own_man_pages_stay() -> None:
    assert {"sockd.8", "sockctl.8", "gateway.toml.5"} <= set(tree.manuals(ROOT))


def test_the_menu_starts_the_gateway_first_and_offers_the_factory_reset() -> None:
    menu = grub.menu()
    entries = menu.split("menuentry")[1:]
    assert "appliance.reset" not in entries[0]
    assert [entry for entry in entries if "Factory reset" in entry and " appliance.reset\n" in entry]
    assert all("root=LABEL=gateway-root ro " in entry for entry in entries)


@ROOT_ONLY
def test_a_missing_part_is_named_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"gateway\.deb is not there"):
        tree.build(tmp_path / "out", tmp_path / "gateway.deb")
    assert not (tmp_path / "out").exists()


@ROOT_ONLY
def test_an_unknown_init_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="systemd and sysvinit"):
        tree.build(tmp_path / "out", tmp_path / "gateway.deb", init="runit")
