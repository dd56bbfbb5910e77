"""What is read in the words of dnsperf, and what is made of it."""

import shutil
from pathlib import Path

import pytest

from tests.bench import dnsmeasures, dnsperf, figures, report, resolvers
from tests.bench.errors import BenchError
from tests.bench.figures import DNS_FIGURES
from tests.bench.forwarders import FORWARDERS
from tests.bench.machine import on_cores
from tests.bench.proxies import PROXIES
from tests.bench.report import DNS_GOALS, OURS, Contestant, Record, Report
from tests.bench.sample import Measure, Sample, attempt
from tests.bench.servers import Running

STATISTICS = """\
DNS Performance Testing Tool
Version 2.10.0

[Status] Testing complete (time limit)

Statistics:

  Queries sent:         1000
  Queries completed:    990 (99.00%)
  Queries lost:         10 (1.00%)

  Response codes:       NOERROR 985 (99.49%), SERVFAIL 5 (0.51%)
  Average packet size:  request 38, response 54
  Run time (s):         2.500000
  Queries per second:   396.000000

  Average Latency (s):  0.000451 (min 0.000009, max 0.009073)
"""

VERBOSE = """\
> NOERROR host0.bench.test A 0.000419
> NXDOMAIN host1.bench.test A 0.000020
> T host2.bench.test A
"""


def test_the_statistics_are_read() -> None:
    found = dnsperf.parse(STATISTICS, 0.25)
    assert (found.sent, found.completed, found.seconds, found.cpu) == (1000, 990, 2.5, 0.25)
    assert found.codes == {"NOERROR": 985, "SERVFAIL": 5}
    assert found.rate == 396.0
    assert found.latencies == ()


def test_what_was_lost_and_what_was_wrong_has_failed() -> None:
    found = dnsperf.parse(STATISTICS)
    assert found.failed == 15
    assert found.first_failure == "10 without an answer, 5 SERVFAIL"


def test_nothing_has_failed_when_all_is_well() -> None:
    text = STATISTICS.replace(", SERVFAIL 5 (0.51%)", "").replace("985", "1000").replace("990", "1000")
    found = dnsperf.parse(text.replace("lost:         10", "lost:         0"))
    assert (found.failed, found.first_failure) == (0, "")


def test_latencies_are_microseconds_of_each_answer() -> None:
    assert dnsperf.parse(VERBOSE + STATISTICS).latencies == pytest.approx((419.0, 20.0))


def test_a_run_without_any_answer_has_no_codes() -> None:
    text = STATISTICS.replace("NOERROR 985 (99.49%), SERVFAIL 5 (0.51%)", "").replace("990", "0")
    found = dnsperf.parse(text)
    assert (found.codes, found.rate, found.failed) == ({}, 0.0, 1000)


@pytest.mark.parametrize("text", ["", "Error: unable to open socket\n", STATISTICS.replace("Run time", "Walk time")])
def test_other_words_are_no_statistics(text: str) -> None:
    with pytest.raises(BenchError, match="dnsperf printed no statistics"):
        dnsperf.parse(text)


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        pytest.param([], 0.99, 0.0, id="nothing"),
        pytest.param([5.0], 0.5, 5.0, id="one value, its median"),
        pytest.param([5.0], 0.99, 5.0, id="one value, its 99th percentile"),
        pytest.param([3.0, 1.0, 2.0, 4.0], 0.5, 2.0, id="half of them are not above it"),
        pytest.param([float(n) for n in range(100, 0, -1)], 0.99, 99.0, id="of a hundred the last but one"),
        pytest.param([float(n) for n in range(1, 102)], 0.99, 100.0, id="of a hundred and one the last but one, too"),
        pytest.param([1.0, 2.0], 1.0, 2.0, id="the greatest"),
        pytest.param([1.0, 2.0], 0.0, 1.0, id="the smallest"),
    ],
)
def test_percentiles(values: list[float], share: float, found: float) -> None:
    assert dnsperf.percentile(values, share) == found


@pytest.mark.parametrize("count", [1, 10, 7919, 10_007])
def test_a_file_of_queries_has_each_name_once(tmp_path: Path, count: int) -> None:
    lines = dnsmeasures.queries(tmp_path, "k", count).read_text().splitlines()
    assert len(lines) == len(set(lines)) == count
    assert all(line.endswith(f".{resolvers.ZONE} A") for line in lines)


def test_files_of_other_words_have_other_names(tmp_path: Path) -> None:
    one, two = (dnsmeasures.queries(tmp_path, prefix, 10).read_text().splitlines() for prefix in ("c1x", "c2x"))
    assert not set(one) & set(two)


def test_the_known_names_meet_every_socket() -> None:
    assert dnsmeasures.KNOWN % dnsperf.CLIENTS
    assert all(dnsmeasures.KNOWN % divisor for divisor in range(2, int(dnsmeasures.KNOWN**0.5) + 1))


@pytest.mark.parametrize(
    ("workers", "available", "server", "load"),
    [
        pytest.param(1, [0, 1], [0], [1], id="two cores"),
        pytest.param(2, [0, 1], [0], [1], id="two cores for two processes and the load"),
        pytest.param(2, [3, 5, 7], [3, 5], [7], id="three cores"),
        pytest.param(1, [0, 1, 2, 3], [0], [2, 3], id="four cores"),
    ],
)
def test_the_load_has_cores_of_its_own(
    monkeypatch: pytest.MonkeyPatch, workers: int, available: list[int], server: list[int], load: list[int]
) -> None:
    monkeypatch.setattr(resolvers, "cores", lambda: available)
    assert resolvers.server_cores(workers) == server
    assert resolvers.load_cores() == load


def test_of_one_core_both_have_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "cores", lambda: [4])
    assert resolvers.server_cores() == resolvers.load_cores() == [4]


def test_a_command_is_bound_to_cores() -> None:
    assert on_cores([1, 3], ["true", "-x"]) == ["taskset", "--cpu-list", "1,3", "true", "-x"]


def test_nobody_answers_where_nobody_listens() -> None:
    assert not resolvers.answers(1)


def test_figures_of_forwarders_have_different_keys() -> None:
    keys = [figure.key for figure in (*figures.FIGURES, *DNS_FIGURES)]
    assert len(set(keys)) == len(keys)


def test_only_what_is_chosen_is_left_of_a_subject() -> None:
    chosen = FORWARDERS.narrowed(("sockd", "unbound"), ("cold", "rules"), OURS)
    assert chosen.names == ("unbound", "sockd")
    assert [peer.name for peer in chosen.peers] == ["unbound", "sockd"]
    assert [measure.name for measure in chosen.measures] == ["cold"]
    assert not chosen.variants
    assert not chosen.is_empty
    assert PROXIES.narrowed(("unbound",), ("conn",), OURS).is_empty


def test_our_own_variants_need_us() -> None:
    assert FORWARDERS.narrowed(("sockd",), ("processes",), OURS).variants
    assert FORWARDERS.narrowed(("unbound",), ("processes",), OURS).is_empty


def test_parts_have_different_names() -> None:
    parts = [*FORWARDERS.parts, *PROXIES.parts]
    assert len(set(parts)) == len(parts)


def test_goals_are_judged_against_the_peer_that_they_name() -> None:
    def records(name: str, cold: float) -> tuple[Record, ...]:
        return (Record(1, name, "cold", Sample({figures.DNS_COLD: cold})),)

    found = Report(
        machine="",
        warning="",
        conditions="",
        contestants=tuple(Contestant(name, "1.0", "") for name in FORWARDERS.names),
        records=records("dnsmasq", 100.0) + records("unbound", 1000.0) + records(OURS, 70.0),
        series=(),
        left_out=(),
        figures=DNS_FIGURES,
        goals=DNS_GOALS,
    )
    text = report.table(found)
    assert "met    forwarded answers/s : dnsmasq: 0.70" in text
    assert ": no-proxy" not in text


def test_what_keeps_a_measure_from_a_result_is_a_failure_of_the_run() -> None:
    def fails(_bench: None, _server: Running | None) -> Sample:
        raise BenchError("no reason")

    assert attempt(Measure("fails", fails), None, None) == Sample({}, 1, "no reason")


@pytest.mark.skipif(
    not all(shutil.which(program, path="/usr/bin:/usr/sbin") for program in ("dnsperf", "nsd", "taskset")),
    reason="no dnsperf or nsd; install dnsperf and nsd",
)
def test_the_name_server_answers_every_name(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Running(resolvers.NAME_SERVER, tmp_path / "nsd") as server:
        names = dnsmeasures.queries(tmp_path, "any", 500)
        result = dnsperf.run(server.port, names, resolvers.load_cores(), "-n", "1", "-v")
    assert (result.failed, result.codes) == (0, {"NOERROR": 500})
    assert len(result.latencies) == 500
    assert result.cpu > 0
