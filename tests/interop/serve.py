# SPDX-License-Identifier: Apache-2.0
"""Serves the functions with one of the SDK's servers, and writes the URL where they are.

usage: serve.py aiohttp|http|fastapi|flask PORT    (0: any)
"""

import asyncio
import socket
import sys
from http.server import ThreadingHTTPServer

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


globals()["serve_" + sys.argv[1]](int(sys.argv[2]))
