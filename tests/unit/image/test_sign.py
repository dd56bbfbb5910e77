"""Checksums and their signature, checked by the programs that a user checks them with."""

import subprocess
from pathlib import Path

import pytest

from image import sign
from image.run import NAME, BuildError

DISK = f"{NAME}-1.0.qcow2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / DISK).write_bytes(b"disk" * 1000)
    (made / f"{NAME}-1.0.spdx.json").write_text("{}")
    (made / "made-of").write_text("not a product")
    return made


def verify(folder: Path, signers: Path) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        signers,
        "-I",
        NAME,
        "-n",
        NAME,
        "-s",
        folder / "SHA256SUMS.sig",
    ]
    with open(folder / "SHA256SUMS") as sums:
        return subprocess.run(command, stdin=sums, capture_output=True, text=True, check=False)


def test_the_products_and_nothing_else_are_listed_and_sha256sum_agrees(folder: Path) -> None:
    sign.sign(folder, folder / "signing-key")
    assert [line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()] == [
        DISK,
        f"{NAME}-1.0.spdx.json",
    ]
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
    )
    assert checked.returncode == 0


def test_ssh_keygen_verifies_the_signature(folder: Path) -> None:
    sign.sign(folder, folder / "signing-key")
    done = verify(folder, folder / "allowed_signers")
    assert done.returncode == 0, done.stderr


def test_a_changed_sum_is_no_longer_signed(folder: Path) -> None:
    sign.sign(folder, folder / "signing-key")
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(DISK, f"{NAME}-9.9.qcow2"))
    assert verify(folder, folder / "allowed_signers").returncode != 0


def test_a_signature_by_another_key_is_refused(folder: Path, tmp_path: Path) -> None:
    sign.sign(folder, folder / "signing-key")
    signers = (folder / "allowed_signers").read_text()
    sign.sign(folder, tmp_path / "another")
    (tmp_path / "signers").write_text(signers)
    assert verify(folder, tmp_path / "signers").returncode != 0


def test_a_key_that_is_not_there_is_made_for_its_owner_only_and_that_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "keys" / "mine"
    sign.sign(folder, key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert f"made {key}" in capsys.readouterr().err
    before = key.read_bytes()
    sign.sign(folder, key)
    assert key.read_bytes() == before
    assert capsys.readouterr().err == ""


def test_a_folder_without_products_is_not_signed(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="nothing to sign"):
        sign.sign(tmp_path, tmp_path / "key")
