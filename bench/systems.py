# SPDX-License-Identifier: Apache-2.0
"""What is measured: a server with its application, and a program with the orchestrator inside it.

Each stands in a directory of its own, with a new store, which ends with the `with`.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def fail(text):
    sys.exit(f"bench: {text}")


class Programs:
    """The programs of a build directory."""

    def __init__(self, build):
        self.server = build / "dispatch"
        self.application = build / "bench" / "bench-app"
        self.load = build / "bench" / "bench-load"
        self.floors = build / "bench" / "bench-floors"
        self.embedded = build / "bench" / "bench-embedded"
        self.orchestrator = [build / "src" / room / f"lib{room}.a"
                             for room in ("engine", "store", "orchestrator", "server")]
        self.count_sync = build / "bench" / "libcount_sync.so"
        for program in [p for p in vars(self).values() if isinstance(p, pathlib.Path)]:
            if not program.exists():
                fail(f"{program} is not built")


# --- processes ------------------------------------------------------------------------------------

def status_field(path, name):
    for line in path.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    fail(f"{path} has no {name}")


def resident_bytes(pid):
    return 1024 * status_field(pathlib.Path(f"/proc/{pid}/status"), "VmRSS")


def switches(pid):
    """How often its threads have gone to sleep, that is, were to be woken."""
    return sum(status_field(task / "status", "voluntary_ctxt_switches")
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def cpu_seconds(pid):
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid gives


def watch_idle(pid, seconds):
    """What a process takes that has nothing to do, from a second after it has started."""
    time.sleep(1)
    woken, used = switches(pid), cpu_seconds(pid)
    time.sleep(seconds)
    return {"idle_kib": resident_bytes(pid) / 1024,
            "idle_wakeups": switches(pid) - woken,
            "idle_cpu_percent": 100 * (cpu_seconds(pid) - used) / seconds}


class Processes:
    """A directory and the processes that work in it; all end with the `with`."""

    def __init__(self, directory):
        self.processes = []
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=directory))

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, command, **options):
        process = subprocess.Popen([str(c) for c in command], text=True, **options)
        self.processes.append(process)
        return process

    def end(self, process):
        """Lets it end by itself."""
        process.send_signal(signal.SIGTERM)
        process.wait()
        self.processes.remove(process)

    def disk_bytes(self):
        return sum(f.stat().st_size for f in self.directory.rglob("*") if f.is_file())

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def outcome(command, **options):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode:
        fail(f"{pathlib.Path(str(command[0])).name} failed")
    return json.loads(done.stdout)


# --- ours -----------------------------------------------------------------------------------------

class Ours(Processes):
    """What both ways to run an application have in common: a store, and a count of its syncs."""

    def __init__(self, programs, directory, kind):
        super().__init__(directory)
        self.programs, self.kind = programs, kind
        self.store = f"sqlite:{self.directory / 'store.db'}"
        self.syncs = self.directory / "syncs"
        self.syncs.write_bytes(bytes(8))
        self.counting = dict(os.environ, COUNT_SYNC=str(self.syncs),
                             LD_PRELOAD=str(programs.count_sync))

    def renew(self):
        """What open() begins with is a new store."""
        self.store += ".new"


class Served(Ours):
    """A server, and an application that it reaches over HTTP of that kind, "http1" or "http2";
    `wrap`: what the server is run by, a profiler."""

    def __init__(self, programs, directory, kind, wrap=()):
        super().__init__(programs, directory, kind)
        self.wrap = list(wrap)

    def begin(self):
        self.start_application(self.kind)
        self.open()

    def start_application(self, kind, **options):
        self.application = self.start([self.programs.application, kind],
                                      stdout=subprocess.PIPE, **options)
        port = self.application.stdout.readline().strip()
        self.endpoint = f"http://127.0.0.1:{int(port or fail('the application did not start'))}"

    def open(self):
        """Starts the server; how long that took, from before fork to the word that it is ready."""
        reading, writing = os.pipe()
        start = time.monotonic()
        self.server = self.start(
            self.wrap + [self.programs.server, "server", "--insecure", "--listen", "127.0.0.1:0",
                         "--store", self.store, "--ready-fd", writing, "--log-level", "warn"],
            pass_fds=[writing], env=None if self.wrap else self.counting)
        os.close(writing)
        with os.fdopen(reading) as ready:
            address = ready.readline().strip()
        if not address:
            fail("the server did not start")
        self.api = f"http://{address}"
        return 1000 * (time.monotonic() - start)

    def close(self):
        self.end(self.server)

    @property
    def pid(self):
        return self.server.pid

    def load(self, options):
        command = [self.programs.load, *options, "--api", self.api, "--endpoint", self.endpoint,
                   "--store", self.store, "--server", self.server.pid,
                   "--application", self.application.pid]
        if not self.wrap:
            command += ["--syncs", self.syncs]
        return outcome(command)


class Signed(Served):
    """The same over HTTP/2, with runs that the server signs and the application verifies."""

    def begin(self):
        self.open()
        made = subprocess.run([str(self.programs.server), "verification", "rollout", "--store",
                               self.store], stdout=subprocess.PIPE, text=True, check=True)
        key = made.stdout[made.stdout.index("-----BEGIN"):]
        self.start_application("http2", env=dict(os.environ, DISPATCH_VERIFICATION_KEY=key))


class Embedded(Ours):
    """A program with the orchestrator inside it. One process has the store at a time: each load is
    a process of its own, that opens it."""

    def begin(self):
        pass

    def open(self):
        start = time.monotonic()
        self.process = self.start([self.programs.embedded, "--workload", "idle", "--store",
                                   self.store], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        took = time.monotonic() - start
        if not line:
            fail("the embedded orchestrator did not start")
        self.opened_kib = json.loads(line)["opened_kib"]  # more than before it was opened
        return 1000 * took

    def close(self):
        self.process.communicate()  # its stdin ends
        self.processes.remove(self.process)

    @property
    def pid(self):
        return self.process.pid

    def load(self, options):
        return outcome([self.programs.embedded, *options, "--store", self.store,
                        "--syncs", self.syncs], env=self.counting)
