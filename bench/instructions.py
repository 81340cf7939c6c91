# SPDX-License-Identifier: Apache-2.0
"""Instructions of the paths that a call takes (hot.c), counted by callgrind and held against the
counts in instructions.json: they depend on no clock, and on nothing else that runs.

Each path is gone along N times and 2N times; the difference, a time, is the count. Another compiler
or other libraries make other counts, so those in the file name what they were made with.
"""
import concurrent.futures
import json
import pathlib
import platform
import shutil
import subprocess
import tempfile

from systems import fail

FILE = pathlib.Path(__file__).with_name("instructions.json")
TOLERANCE = 3  # per cent
# Path: N, what it is.
PATHS = {
    "engine": (200, "engine: a call dispatched, run, answered, both committed to the memory store"),
    "sqlite": (25, "SQLite: a batch in which 64 calls begin and 64 end"),
    "wire": (200, "a Run request packed and unpacked"),
    "http2": (200, "an HTTP/2 request and its answer, client and server"),
    "run": (200, "a run of a function by an endpoint, bytes in, bytes out"),
    "call": (200, "a call embedded, on the memory store, one at a time"),
    "await": (200, "an await of a coroutine that makes 100: its call, poll and resume"),
    "await-long": (1000, "the same of a coroutine that makes 1,000"),
    "fan": (1000, "a call of a coroutine that starts 1,000 and joins them"),
}


def made_with(program):
    """What changes the counts without a change of ours."""
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    return f"{done.stdout.strip()}, {platform.machine()}"


def count(program, path, times, directory):
    out = directory / f"{path}-{times}"
    done = subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}",
                           program, path, str(times)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        fail(f"{path} could not be counted: {done.stderr.strip()}")
    return next(int(line.split()[1]) for line in out.read_text().splitlines()
                if line.startswith("summary:"))


def measure(program):
    """Instructions of each path, once along it."""
    with tempfile.TemporaryDirectory() as directory, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        counts = {(path, times): pool.submit(count, program, path, times, pathlib.Path(directory))
                  for path, (n, _) in PATHS.items() for times in (n, 2 * n)}
        return {path: round((counts[path, 2 * n].result() - counts[path, n].result()) / n)
                for path, (n, _) in PATHS.items()}


def run(build, update):
    """Rows of a table, and what to say at the end: None if all is well."""
    if not shutil.which("valgrind"):
        fail("instructions are counted with valgrind, which is not installed: ./dev setup")
    before = json.loads(FILE.read_text()) if FILE.exists() else {}
    program = build / "bench" / "bench-hot"
    kept, about = before.get("instructions", {}), made_with(program)
    counts = measure(program)
    rows, grown = [["instructions", "kept", "change", ""]], []
    for path, now in counts.items():
        change = 100 * (now / kept[path] - 1) if path in kept else None
        if change is not None and change > TOLERANCE:
            grown.append(path)
        rows.append([f"{now:,}", f"{kept[path]:,}" if path in kept else "-",
                     f"{change:+.1f}%" if change is not None else "new", PATHS[path][1]])
    if update:
        FILE.write_text(json.dumps({"made_with": about, "instructions": counts}, indent=1) + "\n")
        return rows, None
    if before.get("made_with") != about:
        print(f"The counts kept were made with {before.get('made_with')}; these with {about}: "
              "they do not compare, and nothing fails.")
        return rows, None
    return rows, (f"more than {TOLERANCE}% above what is kept: {', '.join(grown)}; if it has to "
                  "be, --update keeps the new counts, and the commit says why") if grown else None
