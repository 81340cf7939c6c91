# SPDX-License-Identifier: Apache-2.0
"""Functions of the official Python SDK, run by our server."""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import types
import unittest
import urllib.request

from world import DISPATCH, HERE, PATIENCE_S, OurClient, WorldTest, functions
from dispatch.function import ClientError  # world has prepared the environment
from dispatch.proto import Arguments, Call, Status


class Functions(WorldTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.app = cls.world.start_app("aiohttp")

    def test_values(self):
        for value in functions.VALUES:
            with self.subTest(value=value):
                self.assertEqual(self.value(self.app, "echo", value), value)

    def test_keyword_arguments(self):
        self.assertEqual(self.value(self.app, "keywords", 44), 42)
        self.assertEqual(self.value(self.app, "keywords", 44, b=1), 43)

    def test_coroutine(self):
        self.assertEqual(self.value(self.app, "nested", "Ada"), "Hello, Ada! Hello, again!")

    def test_gather(self):
        values = [(i * 37) % 64 for i in range(64)]
        self.assertEqual(self.value(self.app, "merge_sort", values), sorted(values))

    def test_state_too_large(self):
        # The SDK's own server takes 1 MiB, and its state has all results so far: nothing helps.
        status, error = self.error(self.app, "many", 12, 180_000)
        self.assertEqual(status, Status.PERMANENT_ERROR)
        self.assertIn("HTTP status 413", error.message)

    def test_any(self):
        self.assertEqual(self.value(self.app, "first_success", "Ada"), "Hello, Ada!")

    def test_any_all_failed(self):
        status, error = self.error(self.app, "no_success")
        self.assertEqual(error.type, "AnyException")
        self.assertEqual(error.message, "2 coroutine(s) failed with an exception")
        self.assertEqual(status, Status.PERMANENT_ERROR)

    def test_race(self):
        self.assertEqual(self.value(self.app, "winner", "Ada"), "Hello, Ada!")

    def test_gather_with_a_failure(self):
        status, error = self.error(self.app, "all_fail", "Ada")
        self.assertEqual((error.type, error.message), ("Refused", "the whole"))

    def test_reset(self):
        call, result = self.run_call(self.app, "countdown", 3, "reset")
        self.assertEqual(result.output, "liftoff after Hello, reset!")
        self.assertEqual(len(pathlib.Path(self.world.directory, "reset").read_text()), 4)
        self.assertEqual(call.function, "countdown")

class Errors(WorldTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.app = cls.world.start_app("aiohttp")

    def test_known_type(self):
        status, error = self.error(self.app, "broken", "no good")
        self.assertEqual(status, Status.INVALID_ARGUMENT)
        self.assertEqual((error.type, error.message), ("ValueError", "no good"))
        self.assertIsInstance(error.to_exception(), ValueError)
        self.assertIn(b"functions.py", error.traceback)

    def test_type_of_the_application(self):
        status, error = self.error(self.app, "refuse", "not today")
        self.assertEqual(status, Status.PERMANENT_ERROR)
        self.assertIsInstance(error.to_exception(), functions.Refused)

    def test_caught_in_the_parent(self):
        self.assertEqual(self.value(self.app, "catcher", "x"), ("caught", "x"))

    def test_passed_on_by_the_parent(self):
        status, error = self.error(self.app, "parent_of_broken", "deep")
        self.assertEqual((status, error.type), (Status.INVALID_ARGUMENT, "ValueError"))
        self.assertIn(b"in broken", error.traceback)

    def test_temporary(self):
        call, result = self.run_call(self.app, "flaky", "flaky")
        self.assertEqual(result.output, 3)
        self.assertEqual(call.attempts, 3)

    def test_unknown_function(self):
        status, error = self.error(self.app, "no_such_function")
        self.assertEqual((status, error.type), (Status.NOT_FOUND, "not_found"))
        self.assertIn("function 'no_such_function' does not exist", error.message)

    def test_wrong_key(self):
        client = OurClient(api_key="wrong", api_url=f"http://{self.world.address}")
        self.world.client, kept = client, self.world.client
        try:
            with self.assertRaisesRegex(PermissionError, "check api_key is correct"):
                self.dispatch(Call(function="not-even-valid", endpoint=""))
        finally:
            self.world.client = kept

    def test_invalid_call(self):
        with self.assertRaises(ClientError) as caught:
            self.dispatch(Call(function="not-valid", endpoint=self.app.url))
        self.assertEqual((caught.exception.status, caught.exception.code),
                         (400, "invalid_argument"))

    def test_slash_after_the_url(self):
        self.world.client.api_url._value += "/"
        try:
            self.assertEqual(self.value(self.app, "echo", 1), 1)
        finally:
            self.world.client.api_url._value = f"http://{self.world.address}"


class Primitive(WorldTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.app = cls.world.start_app("aiohttp")

    def primitive(self, function, input):
        [dispatch_id] = self.dispatch(
            Call(function=function, endpoint=self.app.url, input=input))
        return self.world.wait(dispatch_id)

    def test_poll(self):
        _, result = self.primitive("primitive", ["a", "b", "c", "d", "e"])
        self.assertEqual(result.output, "Hello, a! Hello, b! Hello, c! Hello, d! Hello, e!")

    def test_error(self):
        call, result = self.primitive("primitive", [])
        self.assertEqual((call.status, result.error.type),
                         (Status.INVALID_ARGUMENT, "NoNames"))

    def test_timer(self):
        call, result = self.primitive("nap", 1)
        self.assertEqual(result.output, ["asleep", 0.0])
        self.assertEqual(call.attempts, 2)

    def test_tail_call(self):
        _, result = self.primitive("hand_over", "Ada")
        self.assertEqual(result.output, "Hello, Ada!")

    def test_poll_that_cannot_be_accepted(self):
        _, result = self.primitive("bad_poll", None)
        self.assertEqual(result.output, ["invalid_argument", 0.0])

    def test_batch(self):
        calls = [Call(function="echo", endpoint=self.app.url, input=Arguments((i,), {}))
                 for i in range(200)]
        ids = self.dispatch(*calls)
        self.assertEqual(len(set(ids)), 200)
        self.assertEqual([self.world.wait(i)[1].output for i in ids], list(range(200)))


class Adapters(WorldTest):
    def test_fastapi(self):
        self.adapter("fastapi")

    def test_flask(self):
        self.adapter("flask")

    def test_http_server(self):
        # Each answer is HTTP/1.0 without a length.
        app = self.world.start_app("http")
        self.check(app)

    def check(self, app):
        self.assertEqual(self.value(app, "nested", "Ada"), "Hello, Ada! Hello, again!")
        self.assertEqual(self.value(app, "merge_sort", [3, 1, 2]), [1, 2, 3])
        self.assertEqual(self.value(app, "many", 12, 180_000), [180_000] * 12)
        self.assertEqual(self.error(app, "broken", "x")[0], Status.INVALID_ARGUMENT)
        self.assertEqual(self.error(app, "missing")[0], Status.NOT_FOUND)

    def adapter(self, kind):
        app = self.world.start_app(kind)
        self.check(app)
        with urllib.request.urlopen(app.url + "/start/Ada") as response:
            dispatch_id = json.load(response)["id"]
        _, result = self.world.wait(dispatch_id)
        self.assertEqual(result.output, kind + ": Hello, Ada!")


class Signatures(WorldTest):
    """Applications that run only what is signed with the server's key."""

    def signing_keys(self, method):
        """As the original's command line asks."""
        request = urllib.request.Request(
            f"http://{self.world.address}/dispatch.v1.SigningKeyService/{method}", b"{}",
            {"Content-Type": "application/json", "Authorization": "Bearer a-key"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def test_signatures(self):
        key = self.signing_keys("CreateSigningKey")["key"]["asymmetricKey"]["publicKey"]
        self.assertTrue(key.startswith("-----BEGIN PUBLIC KEY-----\n"))
        for kind in ["aiohttp", "fastapi", "flask"]:
            with self.subTest(kind=kind):
                app = self.world.start_app(kind, DISPATCH_VERIFICATION_KEY=key)
                self.assertEqual(self.value(app, "nested", "Ada"), "Hello, Ada! Hello, again!")
        newer = self.signing_keys("CreateSigningKey")["key"]["asymmetricKey"]["publicKey"]
        self.assertNotEqual(newer, key)
        listed = self.signing_keys("ListSigningKeys")["keys"]
        self.assertEqual(listed[0]["asymmetricKey"]["publicKey"], newer)
        status, _ = self.error(app, "nested", "Ada")  # it has the key from before
        self.assertEqual(status, Status.PERMISSION_DENIED)


class Lambda(WorldTest):
    """The SDK's handler for AWS Lambda, and a server that reaches it by its ARN."""

    ARN = "arn:aws:lambda:eu-west-1:123456789012:function:app:live"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service = cls.world.start_app("lambda")
        cls.world.kill(cls.world.server)
        cls.world.start_server("--lambda-url", cls.service.url)
        cls.app = types.SimpleNamespace(url=cls.ARN)

    def test_coroutine(self):
        self.assertEqual(self.value(self.app, "nested", "Ada"), "Hello, Ada! Hello, again!")
        self.assertEqual(self.value(self.app, "merge_sort", [3, 1, 2]), [1, 2, 3])

    def test_error(self):
        status, error = self.error(self.app, "all_fail", "Ada")
        self.assertEqual((error.type, error.message), ("Refused", "the whole"))
        self.assertEqual(status, Status.PERMANENT_ERROR)

    def test_function_that_is_not_there(self):
        dispatch_id = self.start(self.app, "nobody")
        while not (call := self.world.ask("Get", dispatch_id)).attempts:
            pass
        self.assertEqual(call.last_error.type, "ValueError")
        self.assertIn("function nobody not found", call.last_error.message)


class Killed(WorldTest):
    def begin(self, app, name):
        """A call that waits for its gate; and what to do to let it through."""
        runs, opens = self.world.fifo(name + ".runs"), self.world.fifo(name + ".opens")
        dispatch_id = self.start(app, "around_gate", name)
        self.read(runs)

        def let_through():
            self.read(runs)
            with open(opens, "w") as file:
                file.write("open")
            call, result = self.world.wait(dispatch_id)
            self.assertIsNone(result.error)
            self.assertEqual(result.output, ["Hello, before!", "open", "Hello, after!"])

        return let_through

    def read(self, path):
        with open(path) as file:
            return file.read()

    def start_again(self, app):
        self.world.kill(app)
        return self.world.start_app("aiohttp", app.port)

    def test_application(self):
        app = self.world.start_app("aiohttp")
        let_through = self.begin(app, "application")
        self.start_again(app)
        let_through()

    def test_server_and_application(self):
        # An application that answered the dead server has to be started again, too: the SDK answers
        # each further run of the same call with a 500.
        app = self.world.start_app("aiohttp")
        let_through = self.begin(app, "both")
        self.world.kill(self.world.server)
        self.start_again(app)
        self.world.start_server()
        let_through()

    def test_server(self):
        app, elsewhere = self.world.start_app("aiohttp"), self.world.start_app("aiohttp")
        self.world.kill(elsewhere)
        dispatch_id = self.start(app, "around", elsewhere.url)
        self.world.wait_until_suspended(dispatch_id, 2)
        self.world.kill(self.world.server)
        self.world.start_app("aiohttp", elsewhere.port)
        self.world.start_server()
        _, result = self.world.wait(dispatch_id)
        self.assertEqual(result.output, ["Hello, before!", "Hello, elsewhere!", "Hello, after!"])


class Run(unittest.TestCase):
    """`dispatch run` with a program as the SDK's documentation has it."""

    def test_run(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = "127.0.0.1:%d" % listener.getsockname()[1]
        done = subprocess.run(
            [DISPATCH, "run", "--store", "memory:", "--session", "Mixed", "--endpoint", address,
             "--", sys.executable, HERE / "program.py"],
            capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| Hello, Ada! Hello, again!\n", done.stderr)
        self.assertIn("| caught not today\n", done.stderr)


    def test_template(self):
        """What `dispatch init python` writes."""
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([DISPATCH, "init", "python", directory + "/app"], check=True,
                           stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                address = "127.0.0.1:%d" % listener.getsockname()[1]
            done = subprocess.run(
                [DISPATCH, "run", "--store", "memory:", "--endpoint", address, "--",
                 sys.executable, directory + "/app/main.py"],
                capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| Hello, World! Hello, Dispatch!\n", done.stderr)

if __name__ == "__main__":
    unittest.main(verbosity=2)
