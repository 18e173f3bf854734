"""Serving never uses the network: connections, name look-ups and imports of the service's processes, observed from inside."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from benchmarks.service import Service, wait_until

pytestmark = pytest.mark.e2e

# Runs in every Python process of the service. Appending a short line to a file is atomic.
WITNESS = """
import json, os, sys

def witness(event, args):
    if event == "import" and args[0].partition(".")[0] in ("huggingface_hub", "hf_xet", "pip", "heard"):
        told = [event, args[0]]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        told = [event, str(args[-2] if event == "socket.sendto" else args[0])]
    elif event == "socket.connect" and isinstance(args[1], tuple):
        told = [event, str(args[1][0])]
    elif event == "socket.bind" and isinstance(args[1], tuple):
        told = [event, str(args[1][0])]
    else:
        return
    descriptor = os.open(os.environ["WITNESS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps([os.getpid(), *told]) + "\\n").encode())
    os.close(descriptor)

sys.addaudithook(witness)
try:
    import heard  # that imports are
except ImportError:
    pass
"""


def test_the_default_model_is_served_without_the_network(default_model: Path, tmp_path: Path) -> None:
    """With the default model, so that its file is looked up as well. HF_HUB_OFFLINE is not set: nothing forbids the network."""
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    file = tmp_path / "witnessed"
    environ = {"MODEL_PATH": "", "MODEL_DIR": str(default_model.parent), "HF_HUB_OFFLINE": ""}
    environ |= {"PYTHONPATH": str(tmp_path), "WITNESS_FILE": str(file)}
    quick = ("--n-ctx", "512", "--flash-attn", "off", "--cache-type-k", "f16", "--cache-type-v", "f16")
    with Service(*quick, environ=environ) as service:
        wait_until(lambda: httpx.get(f"{service.base_url}/healthz").status_code == 200, 60, "readiness")
        asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        assert httpx.post(f"{service.base_url}/v1/chat/completions", json=asked, timeout=60).status_code == 200
        seen = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({pid for pid, *_ in seen}) >= 2, "the service and its worker have both been watched"
    assert ["socket.bind", "127.0.0.1"] in [told for _, *told in seen]
    imported = [(pid, name) for pid, event, name in seen if event == "import"]
    assert sorted(imported) == sorted((pid, "heard") for pid in {pid for pid, *_ in seen})
    assert {told[1] for _, *told in seen if told[0].startswith("socket.")} <= {"127.0.0.1", "localhost"}
