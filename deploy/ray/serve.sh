#!/bin/sh
# Two replicas of the service behind Ray Serve, on this machine: deploy/ray/serve.sh [options of python -m llmcore_app.cluster]
#
# Needs the extra `ray` (pip install '.[ray]') and the model (llmcore pull). PYTHON names another interpreter.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
python=${PYTHON:-"$root/.venv/bin/python"}
[ -x "$python" ] || python=python3
exec "$python" -m llmcore_app.cluster --n-replicas 2 "$@"
