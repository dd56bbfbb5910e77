"""Users and groups of the host, and giving up root for ever."""

import grp
import json
import os
import pwd
import subprocess
import sys

import pytest

from gateway.errors import StartError
from gateway.system.privileges import Account, account_of, drop, members


def test_the_account_of_a_user() -> None:
    assert account_of("root") == Account(0, 0)
    me = pwd.getpwuid(os.getuid())
    assert account_of(me.pw_name) == Account(me.pw_uid, me.pw_gid)


def test_a_user_who_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(StartError) as caught:
        account_of("no-such-user")
    assert str(caught.value) == "[sockd] user: there is no user 'no-such-user' on this host"


def test_members_are_those_of_the_list_and_those_of_the_main_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", 50, ["fred", "joe"])))
    users = [
        pwd.struct_passwd((name, "x", number, group, "", "/", "/bin/sh"))
        for name, number, group in (("root", 0, 0), ("joe", 1001, 50), ("ann", 1002, 50), ("bob", 1003, 51))
    ]
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    assert members("staff") == frozenset({"fred", "joe", "ann"})


def test_members_of_a_group_that_does_not_exist() -> None:
    assert members("no-such-group") is None


def test_the_group_of_root_has_root() -> None:
    found = members(grp.getgrgid(0).gr_name)
    assert found is not None
    assert "root" in found


DROPS = """
import json, os
from gateway.system.privileges import Account, drop
drop(Account(65534, 65533))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
facts = {name: status[name].split() for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff")}
for name, number in (("setuid", 0), ("setgid", 0)):
    try:
        getattr(os, name)(number)
        facts[name] = "let"
    except PermissionError:
        facts[name] = "refused"
print(json.dumps(facts))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up; run it as root")
def test_root_is_given_up_for_ever_with_every_group() -> None:
    done = subprocess.run([sys.executable, "-c", DROPS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["Uid"] == ["65534"] * 4
    assert facts["Gid"] == ["65533"] * 4
    assert facts["Groups"] == []
    assert int(facts["CapPrm"][0], 16) == int(facts["CapEff"][0], 16) == 0
    assert (facts["setuid"], facts["setgid"]) == ("refused", "refused")


def test_who_is_not_root_has_nothing_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = (os.getresuid(), os.getresgid(), os.getgroups())
    drop(Account(65534, 65534))
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before
