# SPDX-License-Identifier: Apache-2.0
"""The figures to reach, and whether medians have reached them."""

# What, of which measurement, its field, the goal (at most; "+": at least), unit, number format.
GOALS = [
    ("W1 served, 500 calls a Dispatch", "W1a-http2", "calls_per_s", "+", 60000, "calls/s"),
    ("  CPU of the server", "W1a-http2", "server_us", "", 12, "us a call"),
    ("  CPU of all processes", "W1a-http2", "all_us", "", 25, "us a call"),
    ("W1 served, one call a request", "W1b-http2", "calls_per_s", "+", 25000, "calls/s"),
    ("  CPU of the server", "W1b-http2", "server_us", "", 20, "us a call"),
    ("W1 embedded", "W1a-embedded", "calls_per_s", "+", 150000, "calls/s"),
    ("  CPU of the process", "W1a-embedded", "all_us", "", 6, "us a call"),
    ("W2 served, one alone", "W2one-http2", "step_us", "", 600, "us a step"),
    ("W2 served, 20 at once", "W2twenty-http2", "calls_per_s", "+", 15000, "steps/s"),
    ("W3 served", "W3-http2", "p50_us", "", 25000, "us"),
    ("W5 served, idle: memory", "W5-served", "idle_kib", "", 10240, "KiB"),
    ("  wake-ups", "W5-served", "idle_wakeups", "", 0, ""),
    ("  start, fresh", "W5-served", "start_ms", "", 20, "ms"),
    ("  start with 1,000,000 live calls", "growth-served-1000000", "restart_ms", "", 3000, "ms"),
    ("  memory a suspended call", "growth-served-1000000", "memory_bytes", "", 250, "bytes"),
    ("  disk, beyond its payload", "growth-served-1000000", "disk_bytes", "", 300, "bytes"),
]


def row(what, goal, sign, figure, unit):
    reached = figure >= goal if sign else figure <= goal
    return [what, f"{'>=' if sign else '<='} {goal:,.4g}" if goal < 100 else
            f"{'>=' if sign else '<='} {goal:,.0f}", f"{figure:,.4g}" if figure < 100 else
            f"{figure:,.0f}", unit, "reached" if reached else "not"]


def judge_latency(figures):
    """W4, against what the machine can do at all: the floors are of the same run."""
    case, floors = figures.get("W4call-http2"), figures.get("floors")
    if not case:
        return
    p50, p99 = case["p50_us"]["median"], case["p99_us"]["median"]
    if floors:
        least = 2 * (floors["overwrite_p50_us"]["median"] + floors["loopback_p50_us"]["median"])
        yield row("W4 served, p50: 2.5 x (2 syncs + 2 round trips)", 2.5 * least, "", p50, "us")
    yield row("W4 served, p99: 3 x p50", 3 * p50, "", p99, "us")


def judge_growth(figures):
    """The dearest size against none."""
    for kind in ("served", "embedded"):
        costs = {int(name.rsplit("-", 1)[1]): of["W1a_all_us"]["median"]
                 for name, of in figures.items() if name.startswith(f"growth-{kind}-")}
        if costs.get(0) and len(costs) > 1:
            most = max(cost for live, cost in costs.items() if live)
            yield row(f"Growth {kind}: W1(a), with {max(costs):,} suspended and fewer", 20, "",
                      100 * (most / costs[0] - 1), "% more")


def judge(figures):
    """Rows of a table: what, the goal, the median, its unit, whether it is reached."""
    rows = [row(what, goal, sign, figures[name][field]["median"], unit)
            for what, name, field, sign, goal, unit in GOALS if figures.get(name, {}).get(field)]
    return rows + [*judge_latency(figures), *judge_growth(figures)]
