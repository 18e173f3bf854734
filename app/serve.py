"""Serve a model over the OpenAI API."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence

from llmcore import config, log
from llmcore.config import EngineConfig
from llmcore.errors import LlmcoreError, ModelMissingError
from llmcore.hub import model_store
from llmcore.machine.options import add_flags
from llmcore.worker.client import AsyncEngine

from .application import create_admin_app, create_app, create_service, model_id
from .auth.keys import Keys, load_keys
from .config import ServerConfig
from .server.reaper import reap_for_ever
from .server.server import AdminServer, Server, bind, ignore_hang_ups, url_of
from .server.tls import check_certificate
from .service.service import Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ServerConfig)
    add_flags(parser, EngineConfig)


def run(args: argparse.Namespace) -> int:
    """Serves until a signal. Raises LlmcoreError, with a message for a person, where that cannot begin."""
    flags = vars(args)
    server_config = config.load(ServerConfig, flags, os.environ)
    engine_config = with_model(config.load(EngineConfig, flags, os.environ))
    keys = load_keys(server_config)
    check_certificate(server_config)
    log.configure(server_config.log_level)
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(bind(server_config.host, server_config.port))
        if not is_loopback(sock) and keys is None:
            _say(
                f"WARNING: listening on {server_config.host} without API keys: "
                "whoever reaches this port can use the model"
            )
        admin = stack.enter_context(_bind_admin(server_config)) if server_config.admin_port >= 0 else None
        asyncio.run(serve(engine_config, server_config, sock, keys, admin))
    return 0


def _bind_admin(config: ServerConfig) -> socket.socket:
    sock = bind(config.admin_host, config.admin_port, option="admin_port")
    if not is_loopback(sock) and not config.keys_everywhere:
        _say(f"WARNING: metrics and debugging are on {config.admin_host} for whoever reaches that port")
    return sock


def command(argv: Sequence[str]) -> int:
    """The command with its own argument parser: `python -m llmcore_app`."""
    parser = argparse.ArgumentParser(prog="llmcore serve", description=__doc__, allow_abbrev=False)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except LlmcoreError as error:
        _say(f"llmcore: {error.message}")
        return 1


def with_model(engine: EngineConfig) -> EngineConfig:
    """The config with a model path: where none is given, the default model's. Raises ModelMissingError."""
    if engine.model_path:
        return engine
    path = model_store.default_model_path()
    if path is None:
        message = "no model: `llmcore pull` fetches the default one; MODEL_PATH or --model-path names another"
        raise ModelMissingError(message, param="model_path")
    return dataclasses.replace(engine, model_path=str(path))


async def serve(
    engine_config: EngineConfig,
    server_config: ServerConfig,
    sock: socket.socket,
    keys: Keys | None = None,
    admin_sock: socket.socket | None = None,
) -> None:
    """Until a signal. Raises the engine's error if the model cannot be loaded."""
    engine = AsyncEngine(engine_config, log_level=server_config.log_level)
    service = create_service(engine, server_config, model_id(server_config, engine_config.model_path), keys)
    server = Server(create_app(service, is_local=is_loopback(sock)), service)
    scheme = "https" if server_config.tls_cert else "http"
    line = f"listening on {url_of(sock, scheme)} model={service.model_id}"
    reaping = asyncio.create_task(reap_for_ever()) if os.getpid() == 1 else None
    loading = asyncio.create_task(_announce(engine, server, line))
    try:
        async with _administered(service, admin_sock, scheme):
            try:
                await server.serve(sockets=[sock])
            finally:
                ignore_hang_ups()
    finally:
        if reaping is not None:
            reaping.cancel()
        loading.cancel()
        await engine.stop()  # where the server ended before its startup did, nobody else would
        with contextlib.suppress(asyncio.CancelledError):
            await loading


@contextlib.asynccontextmanager
async def _administered(service: Service, sock: socket.socket | None, scheme: str) -> AsyncIterator[None]:
    """The admin listener, if there is one, around everything else."""
    if sock is None:
        yield
        return
    server = AdminServer(create_admin_app(service, is_local=is_loopback(sock)), service)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    _say(f"admin listener on {url_of(sock, scheme)}")
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def _announce(engine: AsyncEngine, server: Server, line: str) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        await engine.wait_ready()
    except LlmcoreError:
        if not server.should_exit:  # a signal while loading is no failure
            server.should_exit = True
            raise
    else:
        _say(line)


def is_loopback(sock: socket.socket) -> bool:
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
