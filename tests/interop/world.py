# SPDX-License-Identifier: Apache-2.0
"""What the tests play with: our server, an application of the official SDK, and its client."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import aiohttp
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# An application of the SDK needs to know its endpoint and a key before it is imported.
os.environ.update(DISPATCH_ENDPOINT_URL="http://127.0.0.1:1", DISPATCH_API_KEY="a-key",
                  DISPATCH_API_URL="http://127.0.0.1:1")
import functions  # noqa: E402
from dispatch.function import Client  # noqa: E402
from dispatch.proto import Arguments, Call, CallResult, Status  # noqa: E402
from dispatch.sdk.v1 import call_pb2  # noqa: E402

HERE = pathlib.Path(__file__).parent
DISPATCH = os.environ["DISPATCH"]
PATIENCE_S = 30


def our_messages():
    """The messages of package dispatch.v1, which the SDK does not know."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(
            ["protoc", "--include_imports", "-I", HERE.parent.parent / "proto",
             "--descriptor_set_out=" + out.name, "dispatch/v1/call.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName("dispatch.v1." + name))


message = our_messages()


class OurClient(Client):
    """The SDK's keeps one HTTP session for good, in the event loop that it was first used in."""

    def session(self):
        return aiohttp.ClientSession()


class World:
    """A server with its store in a directory, and applications."""

    def __init__(self):
        self.directory = tempfile.mkdtemp()
        self.server = self.address = None
        self.apps = []
        self.log = open(os.path.join(self.directory, "log"), "w+")

    def close(self):
        for process in [*self.apps, self.server]:
            if process:
                process.kill()
                process.wait()
                process.stdout.close()
        self.log.seek(0)
        text = self.log.read()
        self.log.close()
        shutil.rmtree(self.directory)
        return text

    def start_process(self, arguments, environment):
        return subprocess.Popen(
            arguments, env={**os.environ, "INTEROP_DIR": self.directory, **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def start_server(self, *options):
        self.server = self.start_process(
            [DISPATCH, "server", "--listen", self.address or "127.0.0.1:0", "--api-key", "a-key",
             "--store", "sqlite:" + os.path.join(self.directory, "store.db"), "--ready-fd", "1",
             *options], {})
        self.address = self.server.stdout.readline().strip()
        if not self.address:
            raise RuntimeError("the server did not start")
        self.client = OurClient(api_key="a-key", api_url=f"http://{self.address}")

    def start_app(self, kind, port=0, **environment):
        app = self.start_process(
            [sys.executable, HERE / "serve.py", kind, str(port)],
            {"DISPATCH_API_URL": f"http://{self.address}", **environment})
        self.apps.append(app)
        app.url = app.stdout.readline().strip()
        if not app.url:
            raise RuntimeError("the application did not start")
        app.port = int(app.url.rpartition(":")[2])
        return app

    def kill(self, process):
        process.kill()
        process.wait()
        process.stdout.close()
        if process in self.apps:
            self.apps.remove(process)

    def fifo(self, name):
        path = os.path.join(self.directory, name)
        os.mkfifo(path)
        return path

    def ask(self, method, dispatch_id):
        request = urllib.request.Request(
            f"http://{self.address}/dispatch.v1.CallService/{method}",
            message(method + "Request")(dispatch_id=dispatch_id).SerializeToString(),
            {"Content-Type": "application/proto", "Authorization": "Bearer a-key"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return message(method + "Response").FromString(response.read()).call

    def wait(self, dispatch_id):
        """The call, done, as our own API has it, and its result as the SDK has it."""
        call = self.ask("Wait", dispatch_id)
        result = call_pb2.CallResult.FromString(call.result.SerializeToString())
        return call, CallResult._from_proto(result)

    def wait_until_suspended(self, dispatch_id, resumes):
        while self.ask("Get", dispatch_id).resumes < resumes:
            pass


class WorldTest(unittest.TestCase):
    """Tests that share a server."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.clean_up)
        cls.failures = 0
        cls.world.start_server()

    @classmethod
    def clean_up(cls):
        text = cls.world.close()
        if cls.failures:
            print(text, file=sys.stderr)

    def tearDown(self):
        outcome = self._outcome.result
        type(self).failures += len(outcome.errors) + len(outcome.failures)

    def dispatch(self, *calls):
        return asyncio.run(self.world.client.dispatch(calls))

    def start(self, app, function, *args, **kwargs):
        [dispatch_id] = self.dispatch(
            Call(function=function, endpoint=app.url, input=Arguments(args, kwargs)))
        return dispatch_id

    def run_call(self, app, function, *args, **kwargs):
        return self.world.wait(self.start(app, function, *args, **kwargs))

    def value(self, app, function, *args, **kwargs):
        call, result = self.run_call(app, function, *args, **kwargs)
        self.assertIsNone(result.error, result.error)
        self.assertEqual(call.status, Status.OK)
        return result.output

    def error(self, app, function, *args, **kwargs):
        call, result = self.run_call(app, function, *args, **kwargs)
        self.assertIsNotNone(result.error, "it did not fail")
        return Status(call.status), result.error
