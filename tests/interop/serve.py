# SPDX-License-Identifier: Apache-2.0
"""Serves the functions with one of the SDK's servers, and writes the URL where they are.

usage: serve.py aiohttp|http|fastapi|flask|lambda PORT    (0: any)
"""

import asyncio
import json
import re
import socket
import sys
import types
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import functions
from dispatch.function import default_registry
from dispatch.http import Dispatch, Server


def ready(port):
    default_registry().endpoint = f"http://127.0.0.1:{port}"
    print(default_registry().endpoint, flush=True)


def serve_aiohttp(port):
    async def main():
        async with Server("127.0.0.1", port, Dispatch(default_registry())) as server:
            ready(server.port)
            await asyncio.Event().wait()

    asyncio.run(main())


def serve_http(port):
    with ThreadingHTTPServer(("127.0.0.1", port), Dispatch(default_registry())) as server:
        ready(server.server_port)
        server.serve_forever()


def serve_fastapi(port):
    import fastapi
    import uvicorn
    from dispatch.asyncio.fastapi import Dispatch as FastAPIDispatch

    app = fastapi.FastAPI()
    service = FastAPIDispatch(app)

    @service.function
    async def adapter(name):
        return "fastapi: " + await functions.greet(name)

    @app.get("/start/{name}")
    async def start(name: str):
        return {"id": await adapter.dispatch(name)}

    with socket.create_server(("127.0.0.1", port)) as listener:
        ready(listener.getsockname()[1])
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def serve_flask(port):
    from dispatch.flask import Dispatch as FlaskDispatch
    from flask import Flask
    from werkzeug.serving import make_server

    app = Flask(__name__)
    service = FlaskDispatch(app)

    @service.function
    async def adapter(name):
        return "flask: " + await functions.greet(name)

    @app.get("/start/<name>")
    def start(name):
        return {"id": adapter.dispatch(name)}

    server = make_server("127.0.0.1", port, app, threaded=True)
    ready(server.server_port)
    server.serve_forever()


class LambdaService(BaseHTTPRequestHandler):
    """AWS Lambda's Invoke API, with the SDK's handler for it as the only function."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        path = re.fullmatch("/2015-03-31/functions/([^/]+)/invocations", self.path)
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        failed = []
        try:
            default_registry()._endpoint = urllib.parse.unquote(path[1])
            payload = self.server.function.handle(event, types.SimpleNamespace(
                invoked_function_arn=None))
        except Exception as error:
            failed = [("X-Amz-Function-Error", "Unhandled")]
            payload = json.dumps(
                {"errorType": type(error).__name__, "errorMessage": str(error)}).encode()
        self.send_response(200)
        for header in [("Content-Length", str(len(payload))), *failed]:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


def serve_lambda(port):
    # All that the handler uses of AWS's runtime is this name.
    sys.modules["awslambdaric"] = types.ModuleType("awslambdaric")
    sys.modules["awslambdaric.lambda_context"] = types.ModuleType("lambda_context")
    sys.modules["awslambdaric.lambda_context"].LambdaContext = object
    from dispatch.experimental.lambda_handler import Dispatch as LambdaDispatch

    # It sets its registry's endpoint to the ARN, which a registry refuses: this one takes anything.
    function = LambdaDispatch(types.SimpleNamespace(functions=default_registry().functions,
                                                    endpoint="arn:"))
    function.endpoint = None
    with ThreadingHTTPServer(("127.0.0.1", port), LambdaService) as server:
        server.function = function
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


globals()["serve_" + sys.argv[1]](int(sys.argv[2]))
