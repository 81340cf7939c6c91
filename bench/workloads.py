# SPDX-License-Identifier: Apache-2.0
"""The workloads: what is asked of a system, and what is read off it. docs/benchmarks.md tells why.
"""
import dataclasses
import subprocess

import systems

PAYLOAD_BYTES = 32


@dataclasses.dataclass
class Case:
    name: str
    system: str  # a key of SYSTEMS
    title: str
    calls: int  # all of a run's, those that coroutines make included
    load: list  # what bench-load and bench-embedded are told
    steps: int = 1  # calls that each call dispatched makes
    unit: str = "a call"  # what the figures are divided by
    answer: str = "a Dispatch acknowledged"  # what p50 and p99 are of

    def run(self, system, calls):
        each = max(1, (calls or self.calls) // self.steps)
        return system.load([*self.load, "--calls", each])


# What workloads run on: what it is called, and what makes it, of (programs, directory, its key).
SYSTEMS = {
    "http1": ("HTTP/1.1 to the endpoint", systems.Served),
    "http2": ("HTTP/2 to the endpoint", systems.Served),
    "embedded": ("embedded", systems.Embedded),
    "signed": ("HTTP/2 to the endpoint, runs signed and verified", systems.Signed),
}


def make_cases():
    batched = ["--workload", "batched", "--batch", 500, "--connections", 4]
    single = ["--workload", "single", "--connections", 64]
    steps = ["--workload", "call", "--function", "steps", "--input", 100, "--steps", 100]
    fan = ["--workload", "call", "--function", "fan", "--input", 1000]
    result = "dispatch to result returned"
    for system in ("http1", "http2", "embedded", "signed"):
        yield Case(f"W1a-{system}", system, "W1(a) batched: 500 calls a Dispatch, 4 under way",
                   40000, batched)
    for system in ("http1", "http2", "embedded", "signed"):
        yield Case(f"W1b-{system}", system, "W1(b) single: one call a Dispatch, 64 under way",
                   20000, single)
    for system in ("http2", "embedded"):
        yield Case(f"W2one-{system}", system, "W2 one coroutine of 100 awaits at a time", 1000,
                   steps, 100, "a step", "a coroutine")
        yield Case(f"W2twenty-{system}", system, "W2 20 coroutines of 100 awaits at once", 10000,
                   [*steps, "--connections", 20], 100, "a step", "a coroutine")
        yield Case(f"W3-{system}", system, "W3 a coroutine that starts 1,000 calls and joins them",
                   10000, fan, 1000, "a coroutine", "a coroutine")
    yield Case("W4call-http2", "http2", "W4 latency: one call under way, a Call", 500,
               ["--workload", "call"], answer=result)
    yield Case("W4wait-http2", "http2", "W4 latency: one call under way, Dispatch then Wait", 500,
               ["--workload", "latency"], answer=result)
    yield Case("W4wait-embedded", "embedded", "W4 latency: one call under way", 500,
               ["--workload", "latency"], answer=result)


CASES = {case.name: case for case in make_cases()}


def open_system(kind, programs, directory):
    return SYSTEMS[kind][1](programs, directory, kind)


# --- W5 and growth --------------------------------------------------------------------------------

def code_kib(programs):
    """The code that an embedded orchestrator adds to the SDK, beside SQLite."""
    sizes = subprocess.run(["size", *map(str, programs.orchestrator)], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return sum(int(line.split()[0]) for line in sizes if line.split()[0].isdigit()) / 1024


def footprint(kind, programs, directory, idle_s):
    """A new store: how long until it serves, and what it takes while there is nothing to do."""
    with open_system(kind, programs, directory) as system:
        if kind != "embedded":
            system.close()
            system.renew()
        figures = {"start_ms": system.open(), **systems.watch_idle(system.pid, idle_s)}
        if kind == "embedded":
            figures.update(opened_kib=system.opened_kib, code_kib=code_kib(programs))
        return figures


def suspend(system, live):
    batch = min(500, live)
    system.load(["--workload", "suspend", "--function", "sleeper", "--batch", batch,
                 "--connections", 4, "--calls", live])


def growth(kind, live, programs, directory, calls):
    """With `live` calls suspended: what they take, how long a restart is, and what W1 costs."""
    with open_system(kind, programs, directory) as system:
        if kind == "embedded":
            system.open()
        base = systems.resident_bytes(system.pid)
        system.close()
        empty = system.disk_bytes()
        figures = {}
        if kind != "embedded":
            system.open()
        if live:
            suspend(system, live)
            if kind != "embedded":
                figures["filled_bytes"] = (systems.resident_bytes(system.pid) - base) / live
        if kind != "embedded":
            system.close()
        disk = system.disk_bytes()
        figures["restart_ms"] = system.open()
        if live:
            figures["memory_bytes"] = (systems.resident_bytes(system.pid) - base) / live
            figures["disk_bytes"] = (disk - empty) / live - PAYLOAD_BYTES
        if kind == "embedded":
            system.close()
        for name in ("W1a", "W1b"):
            of = CASES[f"{name}-{kind}"].run(system, calls)
            figures.update({f"{name}_{field}": of[field]
                            for field in ("calls_per_s", "all_us", "server_us") if field in of})
        return figures
