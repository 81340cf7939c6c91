# SPDX-License-Identifier: Apache-2.0
"""The test service of the official Python SDK drives an endpoint of the C SDK."""

import asyncio
import os
import subprocess
import unittest

# An application of the SDK needs to know its endpoint and a key before it is imported.
os.environ.update(DISPATCH_ENDPOINT_URL="http://127.0.0.1:1", DISPATCH_API_KEY="a-key")
from dispatch.proto import Call, CallResult  # noqa: E402
from dispatch.sdk.v1.dispatch_pb2 import DispatchRequest  # noqa: E402
from dispatch.test import Service  # noqa: E402

PATIENCE_S = 30


class TestService(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.endpoint = subprocess.Popen([os.environ["ENDPOINT"]], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        cls.addClassCleanup(cls.clean_up)
        cls.url = cls.endpoint.stdout.readline().strip()

    @classmethod
    def clean_up(cls):
        cls.endpoint.stdin.close()
        cls.endpoint.stdout.close()
        if cls.endpoint.wait(PATIENCE_S):
            raise RuntimeError("the endpoint failed")

    def run_call(self, function, input=None):
        async def main():
            service = Service()
            try:
                call = Call(function=function, endpoint=self.url, input=input)
                request = DispatchRequest(calls=[call._as_proto()])
                [dispatch_id] = (await service.dispatch(request)).dispatch_ids
                return await asyncio.wait_for(service.wait(dispatch_id), PATIENCE_S)
            finally:
                await service.close()

        return CallResult._from_proto(asyncio.run(main()))

    def test_function(self):
        for value in ["text", 42, 0.5, True, b"\x00\xff", {"a": [1.5, None]}]:
            with self.subTest(value=value):
                self.assertEqual(self.run_call("echo", value).output, value)

    def test_error(self):
        error = self.run_call("refuse").error
        self.assertEqual((error.type, error.message), ("Refused", "not for you"))

    def test_temporary_error(self):
        self.assertEqual(self.run_call("flaky").output, 2)

    def test_coroutine(self):
        self.assertEqual(self.run_call("fibonacci", 9).output, 34)

    def test_any(self):
        self.assertEqual(self.run_call("persist").output, 2)

    def test_error_of_a_child(self):
        error = self.run_call("refused").error
        self.assertEqual((error.type, error.message), ("Refused", "not for you"))

    def test_wrong_input(self):
        self.assertEqual(self.run_call("fibonacci", "nine").error.type, "NoNumber")


if __name__ == "__main__":
    unittest.main(verbosity=2)
