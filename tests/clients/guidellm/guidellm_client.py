"""guidellm as it comes: its command with synthetic prompts, for three endpoints. The tokenizer is read from the model file."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

url, model = sys.argv[1:]
model_path = Path(os.environ["MODEL_PATH"])
tokenizer = {
    "kind": "huggingface_auto",
    "model": str(model_path.parent),
    "load_kwargs": {"gguf_file": model_path.name},
}
N_REQUESTS = 4
N_OUTPUT = 12


def benchmark(request_format: str, profile: str, report: Path) -> dict:
    command = [
        *(str(Path(sys.executable).with_name("guidellm")), "run", "--disable-console-interactive"),
        *("--backend", f"kind=openai_http,target={url},request_format={request_format}"),
        *("--tokenizer", json.dumps(tokenizer)),
        *("--data", f"kind=synthetic_text,prompt_tokens=48,output_tokens={N_OUTPUT}"),
        *("--profile", profile, "--constraint", f"kind=max_requests,count={N_REQUESTS}"),
        *("--output", f"kind=json,path={report}"),
    ]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=200)
    [run] = json.loads(report.read_text())["benchmarks"]
    return run


with tempfile.TemporaryDirectory() as folder:
    for request_format, profile in [
        ("/v1/chat/completions", "kind=synchronous"),
        ("/v1/completions", "kind=concurrent,streams=2"),
        ("/v1/responses", "kind=throughput,max_concurrency=2"),
    ]:
        run = benchmark(request_format, profile, Path(folder) / "report.json")
        totals = run["metrics"]["request_totals"]
        assert totals["errored"] == totals["incomplete"] == 0, (request_format, totals)
        # It leaves out requests at the edges of its measurement.
        assert N_REQUESTS // 2 <= totals["successful"] <= N_REQUESTS, (request_format, totals)
        for request in run["requests"]["successful"]:
            assert request["output_tokens"] == N_OUTPUT, request  # they are sent with ignore_eos
            assert request["prompt_tokens"] >= 48, request
            assert request["time_to_first_token_ms"] > 0, request
