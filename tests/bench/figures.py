"""The figures that the benchmark prints: their names, how they are written, and which direction is good."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One row of the table; ``key`` is its name in the JSON, ``form`` a format specification."""

    key: str
    title: str
    form: str
    more_is_better: bool


CONNECTIONS = Figure("conn_per_s", "new connections/s", ",.0f", True)
CONNECTION_CPU = Figure("conn_cpu_us", "  proxy CPU, us/conn", ".1f", False)
CONNECTION_LOAD = Figure("conn_load_us", "  load + target CPU, us/conn", ".1f", False)
ROUND_TRIPS = Figure("rt_per_s", "round trips/s, 50 connections", ",.0f", True)
ROUND_TRIP_CPU = Figure("rt_cpu_us", "  proxy CPU, us/round trip", ".2f", False)
ROUND_TRIP_LOAD = Figure("rt_load_us", "  load + target CPU, us/rt", ".2f", False)
LATENCY = Figure("latency_p50_us", "latency, 1 connection, us", ".1f", False)
LATENCY_P99 = Figure("latency_p99_us", "  99th percentile, us", ".1f", False)
BULK = Figure("gbit_1", "Gbit/s, 1 stream", ".2f", True)
BULK_CPU = Figure("cpu_s_per_gb_1", "  proxy CPU, s/GB", ".3f", False)
BULK_LOAD = Figure("load_s_per_gb_1", "  load + target CPU, s/GB", ".3f", False)
BULK_MANY = Figure("gbit_8", "Gbit/s, 8 streams", ".2f", True)
BULK_MANY_CPU = Figure("cpu_s_per_gb_8", "  proxy CPU, s/GB", ".3f", False)
BULK_MANY_LOAD = Figure("load_s_per_gb_8", "  load + target CPU, s/GB", ".3f", False)
UPLOAD = Figure("gbit_up_1", "Gbit/s, 1 stream, upload", ".2f", True)
UPLOAD_CPU = Figure("cpu_s_per_gb_up_1", "  proxy CPU, s/GB", ".3f", False)
UPLOAD_LOAD = Figure("load_s_per_gb_up_1", "  load + target CPU, s/GB", ".3f", False)
IDLE = Figure("idle_kb", "memory of an idle session, kB", ".2f", False)

DNS_CORE = Figure("dns_per_core", "cached answers/s a core", ",.0f", True)
DNS_CACHED = Figure("dns_per_s", "  answers/s", ",.0f", True)
DNS_CPU = Figure("dns_cpu_us", "  server CPU, us/answer", ".2f", False)
DNS_LOAD = Figure("dns_load_us", "  load CPU, us/answer", ".2f", False)
DNS_LATENCY = Figure("dns_p50_us", "latency of cached answers, us", ",.0f", False)
DNS_LATENCY_P99 = Figure("dns_p99_us", "  99th percentile, us", ",.0f", False)
DNS_COLD = Figure("dns_cold_per_s", "forwarded answers/s", ",.0f", True)
DNS_COLD_CPU = Figure("dns_cold_cpu_us", "  server CPU, us/answer", ".2f", False)
DNS_COLD_LOAD = Figure("dns_cold_load_us", "  load + name server CPU, us/answer", ".2f", False)
DNS_MEMORY = Figure("dns_names_mb", "memory of the names in the cache, MB", ".1f", False)
DNS_MEMORY_ALL = Figure("dns_memory_mb", "  memory in all, MB", ".1f", False)

FIGURES = (
    CONNECTIONS,
    CONNECTION_CPU,
    CONNECTION_LOAD,
    ROUND_TRIPS,
    ROUND_TRIP_CPU,
    ROUND_TRIP_LOAD,
    LATENCY,
    LATENCY_P99,
    BULK,
    BULK_CPU,
    BULK_LOAD,
    BULK_MANY,
    BULK_MANY_CPU,
    BULK_MANY_LOAD,
    UPLOAD,
    UPLOAD_CPU,
    UPLOAD_LOAD,
    IDLE,
)
"""Of proxies, in the order of the table."""

DNS_FIGURES = (
    DNS_CORE,
    DNS_CACHED,
    DNS_CPU,
    DNS_LOAD,
    DNS_LATENCY,
    DNS_LATENCY_P99,
    DNS_COLD,
    DNS_COLD_CPU,
    DNS_COLD_LOAD,
    DNS_MEMORY,
    DNS_MEMORY_ALL,
)
"""Of DNS forwarders, in the order of the table."""

SERIES_FIGURES = (CONNECTIONS, CONNECTION_CPU)
"""What is compared between variants of our own proxy."""

DNS_SERIES_FIGURES = (DNS_CORE, DNS_CACHED, DNS_CPU)
"""What is compared between variants of our own forwarder."""

DNS_COLD_FIGURES = (DNS_COLD, DNS_COLD_CPU, DNS_COLD_LOAD)
"""The same for names that it must ask for."""
