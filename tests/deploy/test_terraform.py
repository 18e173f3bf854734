"""deploy/terraform: the module agrees with the service's options and with docs/DEPLOYMENT.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.hub.registry import load_registry
from llmcore.machine.options import env_names, options
from llmcore_app.config import ServerConfig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "terraform"
MODULE = FOLDER / "modules" / "llm-service"
EXAMPLE = FOLDER / "examples" / "local" / "main.tf"


def blocks(kind: str, path: Path) -> set[str]:
    return set(re.findall(rf'^{kind} "(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE))


def section() -> str:
    text = (ROOT / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    return text.partition("\n## Terraform\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_everything_is_documented(kind: str) -> None:
    names = blocks(kind, MODULE / f"{kind}s.tf")
    assert names
    assert {name for name in names if f"`{name}`" not in section()} == set()


def test_variables_are_described_and_the_issues_three_have_no_default() -> None:
    text = (MODULE / "variables.tf").read_text(encoding="utf-8")
    parts = dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL))
    assert parts.keys() == blocks("variable", MODULE / "variables.tf")
    assert [name for name, body in parts.items() if "description" not in body or "type " not in body] == []
    needed = {name for name, body in parts.items() if not re.search(r"^  default ", body, re.MULTILINE)}
    assert needed == {"model_name", "model_path", "model_volume_path"}


def test_every_variable_is_used() -> None:
    used = "".join((MODULE / name).read_text(encoding="utf-8") for name in ("main.tf", "outputs.tf"))
    assert {name for name in blocks("variable", MODULE / "variables.tf") if f"var.{name}" not in used} == set()


def test_the_service_knows_the_options() -> None:
    """Options that the module sets, that it reserves for itself, and that its example has."""
    known: set[str] = set()
    for name, _, option in (*options(EngineConfig), *options(ServerConfig)):
        known.update(env_names(name, option))
    files = (MODULE / "main.tf", MODULE / "variables.tf", EXAMPLE)
    text = re.sub(r"#.*|description = .*", "", "".join(path.read_text(encoding="utf-8") for path in files))
    named = set(re.findall(r"\b(?:LLMCORE_\w+|OMP_NUM_THREADS|MODEL_NAME|MODEL_PATH|HOST|PORT)\b", text))
    assert len(named) > 8
    assert named <= known


def test_the_example_serves_the_default_model() -> None:
    model = load_registry().find()
    text = EXAMPLE.read_text(encoding="utf-8")
    assert f'"{model.name}"' in text
    assert f'"{model.file}"' in text


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_fmt(tmp_path: Path) -> None:
    rc = tmp_path / "terraformrc"
    rc.touch()
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(FOLDER)],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TF_CLI_CONFIG_FILE": str(rc), "CHECKPOINT_DISABLE": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
