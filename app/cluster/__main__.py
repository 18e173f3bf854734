"""Serve a model by several replicas behind Ray Serve: `python -m llmcore_app.cluster`.

Runs in the cluster that RAY_ADDRESS names, or else on this machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Sequence

from llmcore import config
from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, EngineUnavailableError, LlmcoreError
from llmcore.hub import model_store
from llmcore.machine.options import add_flags
from llmcore.machine.threads import decide_threads

from ..config import ClusterConfig, ServerConfig

# Options of our own listener, in whose place a cluster has Ray's HTTP proxy.
_LISTENER_OPTIONS = (
    *("tls_cert", "tls_key", "admin_port", "admin_host", "head_timeout_s", "body_timeout_s", "send_timeout_s"),
)
# Size of Ray's object store. Requests and responses, which pass through it, are small.
_OBJECT_STORE_BYTES = 128 * 2**20


def main(argv: Sequence[str]) -> int:
    """Runs the command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m llmcore_app.cluster", description=__doc__, allow_abbrev=False)
    for each in (ClusterConfig, ServerConfig, EngineConfig):
        add_flags(parser, each)
    try:
        _serve(vars(parser.parse_args(argv)))
    except LlmcoreError as error:
        print(f"llmcore: {error.message}", file=sys.stderr)
        return 1
    return 0


def _serve(flags: dict[str, object]) -> None:
    cluster = config.load(ClusterConfig, flags, os.environ)
    server = config.load(ServerConfig, flags, os.environ)
    check_server(server)
    engine = model_store.with_model(config.load(EngineConfig, flags, os.environ))
    is_local = "RAY_ADDRESS" not in os.environ
    n_most = max(cluster.n_replicas, cluster.n_replicas_max)
    n_cores = decide_threads(0).n_threads
    n_threads = engine.threads or (max(1, n_cores // n_most) if is_local else n_cores)
    engine = dataclasses.replace(engine, threads=n_threads)
    run(engine, server, cluster, n_cpus_of_machine=n_threads * n_most if is_local else 0)


def check_server(server: ServerConfig) -> None:
    """Raises ConfigError if an option is set that has no effect in a cluster."""
    default = ServerConfig()
    for name in _LISTENER_OPTIONS:
        if getattr(server, name) != getattr(default, name):
            raise ConfigError(f"{name} has no effect in a cluster: Ray's HTTP proxy is the listener there", param=name)


def run(engine: EngineConfig, server: ServerConfig, cluster: ClusterConfig, n_cpus_of_machine: int) -> None:
    """Serves until a signal arrives. Starts a local cluster with `n_cpus_of_machine`; 0 connects to a running one. Raises
    ConfigError if Ray is not installed, EngineUnavailableError if the replicas cannot start."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a service sends nothing to third parties
    try:
        import ray
        from ray import serve
        from ray.serve.config import HTTPOptions
    except ImportError:
        raise ConfigError("a cluster needs Ray: pip install 'llmcore[ray]'") from None
    from .deployments import create_application

    if n_cpus_of_machine:
        ray.init("local", num_cpus=n_cpus_of_machine, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)
    else:
        ray.init()
    serve.start(http_options=HTTPOptions(host=server.host, port=server.port))
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: sys.exit(0))  # also while replicas load
    try:
        serve.run(create_application(engine, server, cluster, engine.threads), name="llmcore", route_prefix="/")
        print(
            f"listening on http://{server.host}:{server.port} replicas={cluster.n_replicas}",
            file=sys.stderr,
            flush=True,
        )
        threading.Event().wait()
    except RuntimeError as error:  # Serve raises it if a deployment cannot start
        raise EngineUnavailableError(f"the replicas cannot be started: {error}") from None
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
