"""Role hardening without a host: its templates, and that defaults, specifications, switches and tasks fit together."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.firewall import ROLE, TABLE, load, needs_nft, nft, rendered, yaml
from tests.support.netns import namespace, needs_namespaces

TOPICS = (
    "forwarding",
    "rp_filter",
    "firewall",
    "sshd",
    "services",
    "kernel",
    "mounts",
    "updates",
    "time",
    "logs",
)
TWO_UPLINKS = {"hardening_uplinks": ["outside", "outside2"]}
MANAGED = {"hardening_management_interface": "mgmt"}
SETTINGS = (
    "forwarding.conf.j2",
    "paths.conf.j2",
    "connections.conf.j2",
    "kernel.conf.j2",
    "modprobe.conf.j2",
    "sshd.conf.j2",
    "updates.conf.j2",
    "journald.conf.j2",
)
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")


# --- the firewall


@needs_nft
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"hardening_dns": False}, id="no names"),
        pytest.param({"hardening_dns": "True", "hardening_port": "1081"}, id="texts for values"),
        pytest.param(TWO_UPLINKS, id="two uplinks"),
        pytest.param({**TWO_UPLINKS, **MANAGED}, id="management"),
        pytest.param({"hardening_ssh_networks": ["10.1.0.0/24", "fd00:1::/64"]}, id="ssh networks of both families"),
        pytest.param({"hardening_ssh_networks": ["10.1.0.0/24", "192.0.2.7"]}, id="ssh networks of IPv4"),
        pytest.param({"hardening_inside_tcp": [9100, "8000-8010"], "hardening_inside_udp": [123]}, id="more ports"),
        pytest.param({"hardening_inside_interface": "eth0.5", "hardening_uplinks": ["enp3s0", "br-x"]}, id="odd names"),
        pytest.param({"hardening_uplinks": []}, id="no uplink yet"),
    ],
)
def test_the_kernel_takes_the_ruleset_before_any_card_is_there(changed: dict[str, object]) -> None:
    ruleset = rendered("gateway-filter.nft.j2", **changed)
    with namespace() as space:
        checked = nft(space, "-c", "-f", "-", text=ruleset)
        assert (checked.returncode, checked.stderr) == (0, "")
        assert nft(space, "list", "ruleset").stdout == "", "a check changes nothing"
        load(space, ruleset)
        load(space, ruleset)
        chains = re.findall(r"hook (\w+) priority", nft(space, "list", *TABLE).stdout)
    assert {"prerouting", "input", "forward", "output"} <= set(chains)


@needs_nft
def test_loading_touches_no_other_table_and_leaves_nothing_old_in_ours() -> None:
    with namespace() as space:
        load(space, "table ip other { chain kept { counter; }; }\ntable inet gateway_filter { chain old { drop; }; }\n")
        load(space, rendered("gateway-filter.nft.j2"))
        listed = nft(space, "list", "ruleset").stdout
    assert "chain kept" in listed
    assert "chain old" not in listed


@needs_nft
def test_a_broken_file_leaves_the_rules_that_are_loaded() -> None:
    ruleset = rendered("gateway-filter.nft.j2")
    with namespace() as space:
        load(space, ruleset)
        before = nft(space, "list", "ruleset").stdout
        assert nft(space, "-f", "-", text=ruleset.replace("hook output", "hook nowhere")).returncode != 0
        assert nft(space, "list", "ruleset").stdout == before


def mark(text: str) -> str:
    """What names the rules of a table in its comment."""
    (found,) = re.findall(r'comment "rules [0-9a-f]{40}"', text)
    return str(found)


@needs_nft
def test_the_table_that_is_loaded_says_which_rules_it_has() -> None:
    first, second = rendered("gateway-filter.nft.j2"), rendered("gateway-filter.nft.j2", hardening_echo_rate=7)
    assert mark(first) != mark(second)
    with namespace() as space:
        for ruleset in (first, second):
            load(space, ruleset)
            listed = nft(space, "--stateless", "list", *TABLE).stdout
            assert mark(listed) == mark(ruleset)
            assert "jump from_inside" in listed, "by this a table whose chains were emptied is seen"


CLOSED = "gateway-filter-closed.nft.j2"


@needs_nft
@pytest.mark.parametrize("changed", [{}, {"hardening_ssh_networks": ["10.1.0.0/24", "fd00:1::/64"], **MANAGED}])
def test_rules_for_a_boot_without_the_others_let_in_ssh_alone_and_make_way_for_them(changed: dict[str, object]) -> None:
    with namespace() as space:
        load(space, rendered(CLOSED, **changed))
        listed = nft(space, "list", *TABLE).stdout
        load(space, rendered("gateway-filter.nft.j2", **changed))
        assert "chain from_inside" in nft(space, "list", *TABLE).stdout
    assert listed.count("policy drop") == 2
    assert set(re.findall(r"dport (\S+)", listed)) == {"22"}
    assert '"outside"' not in listed
    assert ('"mgmt"' in listed) is bool(changed)


@needs_nft
@pytest.mark.parametrize("init", ["systemd", "sysvinit"])
def test_a_start_fails_closed_and_keeps_rules_that_are_loaded(init: str, tmp_path: Path) -> None:
    rules, closed, script = (tmp_path / name for name in ("rules", "closed", "script"))
    if init == "systemd":
        unit = rendered("gateway-firewall.service.j2").replace("\\\n", " ")
        text = str(re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.MULTILINE)[0])
    else:
        text = rendered("gateway-firewall.init.j2", hardening_init=init)
    text = text.replace("/etc/gateway-filter.nft", str(rules)).replace("/etc/gateway-filter-closed.nft", str(closed))
    script.write_text(re.sub("^ROOM=.*", f"ROOM={tmp_path}/none", text, flags=re.MULTILINE))
    good = rendered("gateway-filter.nft.j2")
    closed.write_text(rendered(CLOSED))
    with namespace() as space:

        def start() -> int:
            command = [*space.prefix, "sh", str(script), "start"]
            return subprocess.run(command, capture_output=True, text=True, check=False).returncode

        rules.write_text("broken")
        assert start() == 1
        assert "from_inside" not in nft(space, "list", *TABLE).stdout
        assert "policy drop" in nft(space, "list", *TABLE).stdout
        rules.write_text(good)
        assert start() == 0
        rules.write_text("broken")
        assert start() == 1
        assert mark(nft(space, "list", *TABLE).stdout) == mark(good)


def test_no_ruleset_is_flushed_by_anything_of_ours() -> None:
    written = [path for folder in ("templates", "tasks", "handlers") for path in (ROLE / folder).iterdir()]
    assert written
    commands = [line for path in written for line in path.read_text().splitlines() if not line.strip().startswith("#")]
    assert not [line for line in commands if re.search(r"flush.{0,3} ruleset", line)]


# --- other files


@pytest.mark.parametrize(
    ("changed", "value"),
    [({}, "1"), (TWO_UPLINKS, "2"), (MANAGED, "2")],
    ids=["one way out is strict", "two uplinks are loose", "a management card is a way too"],
)
def test_the_reverse_path_filter_goes_by_the_number_of_ways(changed: dict[str, object], value: str) -> None:
    text = rendered("paths.conf.j2", **changed)
    assert set(re.findall(r"rp_filter = (\d)", text)) == {value}
    assert f"net.ipv4.conf.all.rp_filter = {value}" in text
    assert f"-net/ipv4/conf/inside/rp_filter = {value}" in text


def test_a_container_may_refuse_every_setting_of_the_kernel() -> None:
    for template in ("forwarding.conf.j2", "paths.conf.j2"):
        plain, contained = (rendered(template, hardening_container=there) for there in (False, True))
        assert [line for line in plain.splitlines() if line.startswith("net.")]
        assert not [line for line in contained.splitlines() if line.startswith("net.")]


@pytest.mark.parametrize("template", SETTINGS)
@pytest.mark.parametrize("changed", [{}, {**TWO_UPLINKS, "hardening_ssh_forwarding": True}], ids=["defaults", "others"])
def test_every_setting_stands_below_its_reason(template: str, changed: dict[str, object]) -> None:
    blocks = rendered(template, **changed).split("\n\n")
    headless = [
        block
        for block in blocks
        if not re.match(r"(\s|\[\w+\]\n)*(#|//)", block) and block.strip()  # a section begins with its name
    ]
    assert headless == []


@pytest.mark.parametrize("init", ["systemd", "sysvinit"])
def test_every_template_can_be_rendered_from_the_defaults(init: str) -> None:
    for path in sorted((ROLE / "templates").iterdir()):
        text = rendered(path.name, hardening_init=init)
        assert "by Ansible" in text, path.name
        assert text.endswith("\n"), path.name
        assert "{{" not in text, path.name


def test_the_clock_asks_the_servers_that_were_named_and_no_others() -> None:
    servers = {"hardening_time_servers": ["192.0.2.5", "192.0.2.6"]}
    assert "NTP=192.0.2.5 192.0.2.6\n" in rendered("systemd-timesyncd.conf.j2", **servers)
    assert "FallbackNTP=\n" in rendered("systemd-timesyncd.conf.j2", **servers)
    assert "server 192.0.2.6 iburst\n" in rendered("chrony.conf.j2", **servers)
    assert "server" not in re.sub("#.*", "", rendered("chrony.conf.j2"))


def test_a_reboot_is_the_administrators_unless_a_time_was_said() -> None:
    assert 'Automatic-Reboot "false"' in rendered("updates.conf.j2")
    assert 'Automatic-Reboot-Time "04:30"' in rendered("updates.conf.j2", hardening_reboot_time="04:30")


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="needs apt-config; a Debian host runs it")
def test_apt_reads_one_origin_of_updates(tmp_path: Path) -> None:
    file = tmp_path / "updates"
    file.write_text('Unattended-Upgrade::Origins-Pattern { "origin=Debian"; };\n' + rendered("updates.conf.j2"))
    done = subprocess.run(["apt-config", "-c", file, "dump"], capture_output=True, text=True, check=True)
    patterns = re.findall(r'Origins-Pattern:: "(.*)"', done.stdout)
    assert patterns == ["origin=Debian,codename=${distro_codename}-security,label=Debian-Security"]


@pytest.mark.skipif(SSHD is None, reason="needs sshd: apt-get install openssh-server")
@pytest.mark.parametrize(("forwarding", "user", "root"), [(False, "root", "without-password"), (True, "admin", "no")])
def test_sshd_takes_its_file(forwarding: bool, user: str, root: str, tmp_path: Path) -> None:
    key, file = tmp_path / "key", tmp_path / "sshd.conf"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    file.write_text(rendered("sshd.conf.j2", hardening_ssh_forwarding=forwarding, hardening_ssh_user=user))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = [str(SSHD), "-T", "-f", str(file), "-h", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    settings = done.stdout.splitlines()
    assert {"passwordauthentication no", f"permitrootlogin {root}", "kbdinteractiveauthentication no"} <= {*settings}
    assert "maxauthtries 6" in settings, "Debian's own"
    assert f"allowtcpforwarding {'yes' if forwarding else 'no'}" in settings


def test_the_script_of_sysvinit_is_a_shell_script_and_knows_its_actions(tmp_path: Path) -> None:
    script = tmp_path / "gateway-firewall"
    script.write_text(rendered("gateway-firewall.init.j2", hardening_init="sysvinit"))
    subprocess.run(["sh", "-n", script], check=True)
    done = subprocess.run(["sh", script, "dance"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage: gateway-firewall {start|stop" in done.stderr


@pytest.mark.parametrize(
    ("line", "on"),
    [
        ("net.ipv4.ip_forward = 1", True),
        ("net.ipv4.ip_forward=1", True),
        ("  net/ipv4/ip_forward = 1", True),
        ("-net.ipv6.conf.all.forwarding = 1", True),
        ("net.ipv4.conf.eth0.forwarding=1", True),
        ("net.ipv4.conf.*.forwarding = 1", True),
        ("net.ipv6.conf.default.forwarding = 2", True),
        ("#net.ipv4.ip_forward=1", False),
        ("net.ipv4.ip_forward = 0", False),
        ("net.ipv6.conf.all.forwarding=0", False),
        ("net.ipv4.ip_forward_use_pmtu = 1", False),
        ("net.ipv4.conf.all.send_redirects = 1", False),
    ],
)
def test_a_line_that_turns_forwarding_on_is_recognized(line: str, on: bool) -> None:
    pattern = yaml("vars/main.yml")["hardening_forwarding_on"]
    assert bool(re.match(pattern, line)) is on


# --- who is let in


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("ssh-ed25519 AAAAC3Nz admin", True),
        ('from="10.1.0.0/24",no-pty ecdsa-sha2-nistp256 AAAAE2Vj command=center', True),
        ("sk-ssh-ed25519@openssh.com AAAAGnNr", True),
        ("# ssh-ed25519 AAAAC3Nz", False),
        ('command="/usr/bin/backup" ssh-ed25519 AAAAC3Nz', False),
        ('restrict,Command="/usr/bin/backup" ssh-rsa AAAAB3Nz', False),
    ],
)
def test_a_key_counts_when_somebody_can_log_in_with_it(line: str, counts: bool) -> None:
    assert bool(re.match(yaml("vars/main.yml")["hardening_key"], line)) is counts


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.1.0.0/24", True),
        ("10.1.0.7", True),
        ("fd00:1::/64", True),
        ("::1", True),
        ("1", False),
        ("inside", False),
        ("10.1.0.0/24,10.2.0.0/16", False),
    ],
)
def test_what_is_no_network_is_told_from_one(text: str, network: bool) -> None:
    assert bool(re.match(yaml("vars/main.yml")["hardening_network"], text)) is network


@needs_namespaces
@pytest.mark.parametrize(
    ("connection", "networks", "says"),
    [
        ("10.1.0.9 4711 10.1.0.1 22", [], ""),
        ("fd00:1::9 4711 fd00:1::1 22", [], ""),
        ("::ffff:10.1.0.9 4711 ::ffff:10.1.0.1 22", [], ""),
        ("10.1.0.9 4711 10.1.0.1 22", ["10.1.0.8/29"], ""),
        ("10.1.0.9 4711 10.1.0.1 22", ["fd00:1::/64", "10.2.0.0/16"], "in none of fd00:1::/64, 10.2.0.0/16"),
        ("10.3.0.9 4711 10.3.0.1 22", ["10.1.0.0/24"], ""),
        ("198.51.100.9 4711 192.0.2.10 22", [], "from 198.51.100.9 by outside"),
        ("10.1.0.9 4711 10.1.0.1 2222", [], "port 2222, and hardening_ssh_port is 22"),
        ("10.1.0.9 4711 10.9.9.9 22", [], "no card of this host"),
        ("10.1.0.9 4711 10.3.0.1 22", [], "by mgmt, and the way back is by inside"),
        ("198.51.100.9 4711 10.1.0.1 22", [], "by inside, and the way back is by outside"),
        ("10.1.0.1 4711 10.1.0.1 22", ["10.2.0.0/16"], ""),
        ("fe80::9%inside 4711 fe80::1%inside 22", [], ""),
    ],
)
def test_the_plays_own_connection_is_judged_as_the_rules_judge_it(
    connection: str, networks: list[str], says: str
) -> None:
    cards = {
        "inside": ["10.1.0.1/24", "fd00:1::1/64", "fe80::1/64"],
        "outside": ["192.0.2.10/24"],
        "mgmt": ["10.3.0.1/24"],
    }
    script = [sys.executable, str(ROLE / "files" / "admitted.py"), connection, "inside", "mgmt", "22", *networks]
    with namespace() as space:
        for card, addresses in cards.items():
            space.ip("link", "add", card, "type", "veth", "peer", "name", f"far-{card}")
            space.ip("link", "set", card, "up")
            space.ip("link", "set", f"far-{card}", "up")
            for address in addresses:
                space.ip("addr", "add", address, "dev", card, *(["nodad"] if ":" in address else []))
        space.ip("route", "add", "default", "via", "192.0.2.1")
        done = subprocess.run([*space.prefix, *script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1 if says else 0, "")
    assert says in done.stdout


# --- defaults, specifications, switches, tasks


def test_the_specifications_name_the_defaults_and_nothing_else() -> None:
    defaults = yaml("defaults/main.yml")
    options = yaml("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert list(options) == list(defaults)
    for name, option in options.items():
        assert name.startswith("hardening_")
        assert option["description"]
        assert ("default" in option) != option.get("required", False), name
        assert option.get("default", defaults[name]) == defaults[name], name


def test_the_types_of_the_specifications_are_those_of_the_defaults() -> None:
    kinds = {"str": str, "bool": bool, "int": int, "list": list}
    defaults = yaml("defaults/main.yml")
    for name, option in yaml("meta/argument_specs.yml")["argument_specs"]["main"]["options"].items():
        assert "{{" in str(defaults[name]) or type(defaults[name]) is kinds[option["type"]], name


def test_every_default_is_explained_above_it() -> None:
    lines = (ROLE / "defaults" / "main.yml").read_text().splitlines()
    named = [number for number, line in enumerate(lines) if re.match(r"hardening_\w+:", line)]
    # one comment may be for several that follow each other at once
    bare = [lines[n] for n in named if not re.match(r"#|hardening_\w+:|  - ", lines[n - 1])]
    assert bare == []


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_switch_and_a_tasks_file_that_says_why(topic: str) -> None:
    assert yaml("defaults/main.yml")[f"hardening_{topic}"] is True
    (task,) = [task for task in yaml("tasks/main.yml") if task.get("ansible.builtin.include_tasks") == f"{topic}.yml"]
    assert f"hardening_{topic} | bool" in (task["when"] if isinstance(task["when"], list) else [task["when"]])
    assert (ROLE / "tasks" / f"{topic}.yml").read_text().startswith(f"---\n# hardening_{topic}: ")


def test_no_service_is_looked_for_by_an_empty_list_of_names() -> None:
    (task,) = [task for task in yaml("tasks/main.yml") if task.get("ansible.builtin.include_tasks") == "services.yml"]
    assert "hardening_unneeded_services | default([], true) | length > 0" in task["when"]


def test_nothing_is_started_or_loaded_in_a_check_nor_in_a_tree_that_is_being_built() -> None:
    for handler in yaml("handlers/main.yml"):
        assert {"hardening_running | bool", "not ansible_check_mode"} <= set(handler["when"]), handler
