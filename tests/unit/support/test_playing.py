"""What is read of the words of ansible-playbook."""

from tests.support.bastion.playing import read

RUN = """\

PLAY [A gateway] ***************************************************************

TASK [Gathering Facts] *********************************************************
ok: [gateway]

TASK [gateway : Write the files] ***********************************************
--- before: /etc/sockd.conf
+++ after: /root/.ansible/tmp/sockd.conf.j2
@@ -2 +2 @@
-permit ALL 192.0.2.1/32
+deny ALL 192.0.2.1/32

changed: [gateway] => (item=sockd.conf)
changed: [gateway] => (item=sockd.route)

TASK [gateway : Ask] ***********************************************************
skipping: [gateway]

RUNNING HANDLER [gateway : Reload] *********************************************
changed: [gateway]

TASK [gateway : Show what sockd has against them] ******************************
fatal: [gateway]: FAILED! =>
    msg:
    - 'refused, and nothing
        was changed:'
    - /etc/sockd.conf:2: no such \\"word\\"

PLAY RECAP *********************************************************************
gateway                    : ok=5    changed=2    unreachable=0    failed=1    skipped=1    rescued=0    ignored=0
"""


def test_it_is_read_what_changed_what_failed_and_how_often() -> None:
    played = read(2, RUN)
    assert played.status == 2
    assert (played.counts["ok"], played.counts["changed"], played.counts["failed"]) == (5, 2, 1)
    assert played.changed == ("gateway : Write the files", "gateway : Reload")
    assert played.failed == ("gateway : Show what sockd has against them",)


def test_the_lines_of_a_diff_are_those_that_go_and_come() -> None:
    assert read(0, RUN).differences == ("-permit ALL 192.0.2.1/32", "+deny ALL 192.0.2.1/32")


def test_a_message_is_found_however_ansible_has_wrapped_it() -> None:
    plain = read(2, RUN).plain
    assert "refused, and nothing was changed:" in plain
    assert '/etc/sockd.conf:2: no such "word"' in plain


def test_a_run_that_said_nothing_changed_nothing() -> None:
    played = read(1, "")
    assert (played.counts, played.changed, played.failed, played.differences) == ({}, (), (), ())
