# SPDX-License-Identifier: Apache-2.0
"""The nearest peer, Restate: fetched from the npm registry, and measured by the same load.

Its settings are its defaults, but for the invoker's limit (with the stock 1,000 it collapses under
a backlog on two processors) and the number of partitions, of which it is measured with two.
"""
import fcntl
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

from systems import Processes, fail, outcome
from workloads import CASES, SYSTEMS, Case

VERSION = "1.7.12"
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
INVOKER_LIMIT = 32
PATIENCE_S = 60
PAYLOAD = '"0123456789abcdef0123456789abcdef"'
LIVE = "select count(*) as n from sys_invocation where status <> 'completed'"

# For each workload of ours: what is posted, and where.
POSTS = {
    "W1b-http2": ("/bench/noop/send", PAYLOAD, ["--connections", 64]),
    "W2one-http2": ("/bench/steps", "100", ["--steps", 100]),
    "W2twenty-http2": ("/bench/steps", "100", ["--steps", 100, "--connections", 20]),
    "W3-http2": ("/bench/fan", "1000", []),
    "W4call-http2": ("/bench/noop", PAYLOAD, []),
}
KINDS = {f"restate{partitions}": partitions for partitions in (2, 24)}


def cases():
    for ours, (path, body, more) in POSTS.items():
        of = CASES[ours]
        for kind in KINDS:
            load = ["--workload", "post", "--path", path, "--body", body, *more]
            yield Case(ours.replace("http2", kind), kind, of.title, of.calls, load, of.steps,
                       of.unit, of.answer)


def add():
    """Makes them workloads and systems beside ours."""
    CASES.update((case.name, case) for case in cases())
    SYSTEMS.update((kind, (f"Restate {VERSION}, {KINDS[kind]} partitions", Restate))
                   for kind in KINDS)


def fetch():
    """The directory of the packages; once fetched, nothing is asked of the network."""
    machine = MACHINES.get(platform.machine()) or fail("Restate has no server for this processor")
    packages = [f"@restatedev/restate-server@{VERSION}", "@restatedev/restate-sdk@1.17.2",
                f"node-linux-{machine}@24.21.0"]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    directory = cache / "dispatch" / f"bench-restate-{VERSION}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            install(packages, directory)
    shutil.copy(pathlib.Path(__file__).with_name("restate.mjs"), directory / "app.mjs")
    return directory


def install(packages, directory):
    if not shutil.which("npm"):
        fail("--peer restate is fetched with npm, which is not installed: apt-get install npm")
    partial = directory.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    print(f"Fetching into {directory}: {' '.join(packages)}")
    done = subprocess.run(["npm", "install", "--prefix", partial, "--no-audit", "--no-fund",
                           "--no-progress", "--ignore-scripts", *packages], cwd=partial)
    if done.returncode:
        fail("npm could not fetch the peer")
    partial.rename(directory)  # so that what is half there is never taken for whole


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(url, body=None):
    """True: answered with success."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def until(what, *arguments):
    """Asks until the answer is success: the server has no other way to say that it is ready."""
    end = time.monotonic() + PATIENCE_S
    while not ask(*arguments):
        if time.monotonic() > end:
            fail(f"the peer: no {what} within {PATIENCE_S} s")
        time.sleep(0.005)


class Restate(Processes):
    def __init__(self, programs, directory, kind):
        super().__init__(directory)
        self.programs, self.partitions = programs, KINDS[kind]
        self.home = fetch()

    def begin(self):
        self.application = self.start(
            [self.home / "node_modules" / ".bin" / "node", self.home / "app.mjs"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(os.environ, NODE_ENV="production"))
        port = self.application.stdout.readline().strip()
        self.endpoint = f"http://127.0.0.1:{int(port or fail('the application did not start'))}"
        self.open()
        until("registration", f"{self.admin}/deployments", {"uri": self.endpoint})
        until("first call", f"{self.api}/bench/noop", "first")

    def open(self):
        """As Served.open; ready is when both of its ports say that it is healthy. Its syncs are not
        counted: it is linked statically, so that nothing can be preloaded."""
        ports = [free_port() for _ in range(3)]
        self.api, self.admin = (f"http://127.0.0.1:{port}" for port in ports[:2])
        settings = {"RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports[0]}",
                    "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports[1]}",
                    "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports[2]}",
                    "RESTATE_LISTEN_MODE": "tcp", "RESTATE_DISABLE_TELEMETRY": "true",
                    "RESTATE_DEFAULT_NUM_PARTITIONS": str(self.partitions),
                    "RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT": str(INVOKER_LIMIT)}
        server = next(self.home.glob("node_modules/@restatedev/restate-server-linux-*/bin/"
                                     "restate-server"))
        start = time.monotonic()
        self.server = self.start([server, "--no-logo", "--base-dir", self.directory / "data"],
                                 env=dict(os.environ, **settings), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        until("health", f"{self.admin}/health")
        until("health", f"{self.api}/restate/health")
        return 1000 * (time.monotonic() - start)

    def close(self):
        self.end(self.server)

    def renew(self):
        """What open() begins with is a new store."""
        shutil.rmtree(self.directory / "data")

    @property
    def pid(self):
        return self.server.pid

    def load(self, options):
        drain = ["--drain-url", f"{self.admin}/query", "--drain-body", json.dumps({"query": LIVE}),
                 "--drained", '{"rows":[{"n":0}]}']
        return outcome([self.programs.load, *options, "--api", self.api,
                        "--server", self.server.pid, "--application", self.application.pid,
                        *(drain if "/bench/noop/send" in options else [])])
