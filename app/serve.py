"""Serve a model over the OpenAI API."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence

from llmcore import config, log
from llmcore.config import EngineConfig
from llmcore.errors import LlmcoreError
from llmcore.hub import model_store
from llmcore.machine.options import add_flags
from llmcore.worker.client import AsyncEngine

from .application import create_admin_app, create_app, create_service, model_id
from .auth.keys import Keys, load_keys
from .config import ServerConfig
from .server.reaper import reap_orphans
from .server.server import AdminServer, Server, ignore_hang_ups
from .server.sockets import bind, is_loopback, url_of
from .server.tls import check_certificate
from .service.service import Service

_START_POLL_S = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of all options of the service and of the engine."""
    add_flags(parser, ServerConfig)
    add_flags(parser, EngineConfig)


def main(argv: Sequence[str]) -> int:
    """Runs the command with an argument parser of its own: `python -m llmcore_app`. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="llmcore serve", description=__doc__, allow_abbrev=False)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except LlmcoreError as error:
        _print(f"llmcore: {error.message}")
        return 1


def run(args: argparse.Namespace) -> int:
    """Serves until a signal arrives. Raises LlmcoreError, with a message for the user, if the service cannot start."""
    flags = vars(args)
    server_config = config.load(ServerConfig, flags, os.environ)
    engine_config = model_store.with_model(config.load(EngineConfig, flags, os.environ))
    keys = load_keys(server_config)
    check_certificate(server_config)
    log.configure(server_config.log_level)
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(bind(server_config.host, server_config.port))
        if not is_loopback(sock) and keys is None:
            _print(
                f"WARNING: listening on {server_config.host} without API keys: "
                "anyone who can reach this port can use the model"
            )
        admin_sock = stack.enter_context(_bind_admin(server_config)) if server_config.admin_port >= 0 else None
        asyncio.run(serve(engine_config, server_config, sock, keys, admin_sock))
    return 0


async def serve(
    engine_config: EngineConfig,
    server_config: ServerConfig,
    sock: socket.socket,
    keys: Keys | None = None,
    admin_sock: socket.socket | None = None,
) -> None:
    """Serves on bound sockets until a signal arrives. Raises the engine's error if the model cannot be loaded."""
    engine = AsyncEngine(engine_config, log_level=server_config.log_level)
    service = create_service(engine, server_config, model_id(server_config, engine_config.model_path), keys)
    server = Server(create_app(service, is_local=is_loopback(sock)), service)
    scheme = "https" if server_config.tls_cert else "http"
    ready_line = f"listening on {url_of(sock, scheme)} model={service.model_id}"
    reaping = asyncio.create_task(reap_orphans()) if os.getpid() == 1 else None
    loading = asyncio.create_task(_print_when_ready(engine, server, ready_line))
    try:
        async with _admin_listener(service, admin_sock, scheme):
            try:
                await server.serve(sockets=[sock])
            finally:
                ignore_hang_ups()
    finally:
        if reaping is not None:
            reaping.cancel()
        loading.cancel()
        await engine.stop()  # the lifespan does not stop it if the server ends during its startup
        with contextlib.suppress(asyncio.CancelledError):
            await loading


def _bind_admin(config: ServerConfig) -> socket.socket:
    sock = bind(config.admin_host, config.admin_port, option="admin_port")
    if not is_loopback(sock) and not config.keys_everywhere:
        _print(f"WARNING: metrics and debugging are served on {config.admin_host} to anyone who can reach that port")
    return sock


@contextlib.asynccontextmanager
async def _admin_listener(service: Service, sock: socket.socket | None, scheme: str) -> AsyncIterator[None]:
    """Runs the admin listener, if it has a socket, until the context ends."""
    if sock is None:
        yield
        return
    server = AdminServer(create_admin_app(service, is_local=is_loopback(sock)), service)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    _print(f"admin listener on {url_of(sock, scheme)}")
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def _print_when_ready(engine: AsyncEngine, server: Server, line: str) -> None:
    """Prints the line once the model is loaded. If it cannot be loaded, ends the server and raises the load error."""
    while not server.started:
        await asyncio.sleep(_START_POLL_S)
    try:
        await engine.wait_ready()
    except LlmcoreError:
        if not server.should_exit:  # after a signal, an interrupted load is not a failure
            server.should_exit = True
            raise
    else:
        _print(line)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
