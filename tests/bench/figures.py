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
"""In the order of the table."""

SERIES_FIGURES = (CONNECTIONS, CONNECTION_CPU)
"""What is compared between variants of our own daemon."""
