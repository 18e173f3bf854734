"""The service with names that are not UTF-8, under other locales, and for users without a home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from benchmarks.service import Service

pytestmark = pytest.mark.e2e

QUICK = ("--n-ctx", "256", "--flash-attn", "off", "--cache-type-k", "f16", "--cache-type-v", "f16")


def served(service: Service) -> str:
    """Returns the model's id from a running service."""
    asked = {"prompt": "a", "max_tokens": 2}
    assert httpx.post(f"{service.base_url}/v1/completions", json=asked, timeout=60).status_code == 200
    name = str(httpx.get(f"{service.base_url}/v1/models").json()["data"][0]["id"])
    page = httpx.get(f"{service.base_url}/metrics")
    assert page.status_code == 200
    assert f'model="{name}"' in page.text
    return name


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a locale in ISO-8859-1."""
    folder = tmp_path_factory.mktemp("locales")
    localedef = shutil.which("localedef")
    if localedef is None:
        pytest.skip("no localedef")
    command: list[str | Path] = [localedef, "-i", "de_DE", "-f", "ISO-8859-1", folder / "de_DE.ISO-8859-1"]
    subprocess.run(command, capture_output=True, check=False)
    environ = {"LOCPATH": str(folder), "LC_ALL": "de_DE.ISO-8859-1"}
    code = "import sys; print(sys.getfilesystemencoding())"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environ}, capture_output=True, check=True)
    if done.stdout != b"iso8859-1\n":
        pytest.skip("the locale de_DE.ISO-8859-1 cannot be made")
    return environ


@pytest.fixture
def model(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model, with a name and a folder that are not UTF-8."""
    path = tmp_path / os.fsdecode(b"d\xff\xe9") / os.fsdecode(request.param)
    path.parent.mkdir()
    shutil.copyfile(tiny_model, path)
    return path


@pytest.mark.parametrize("model", [b"m\xff\xe9d.gguf"], indirect=True)
def test_names_that_are_not_utf_8(model: Path, tmp_path: Path) -> None:
    template = model.with_name(os.fsdecode(b"t\xfe.jinja"))
    template.write_text("{{ messages[0]['content'] }}")
    folders = (
        "--profile-dir",
        str(model.with_name(os.fsdecode(b"p\xfe"))),
        "--prefix-dir",
        str(model.parent / "prefixes"),
    )
    # The step is measured, so that there is a profile to keep.
    with Service("--n-ctx", "256", "--model-path", str(model), "--chat-template", str(template), *folders) as service:
        assert served(service) == "m\ufffd\ufffdd"
        asked = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2}
        assert httpx.post(f"{service.base_url}/v1/chat/completions", json=asked, timeout=60).status_code == 200
    assert not any("worker_died" in line or "Traceback" in line for line in service.log)


@pytest.mark.parametrize("model", [b"m.gguf"], indirect=True)
@pytest.mark.parametrize("variable", ["LLMCORE_MODEL_NAME", "MODEL_NAME"])
def test_a_given_name_that_is_not_utf_8(model: Path, variable: str) -> None:
    environ = {"MODEL_PATH": str(model), variable: os.fsdecode(b"n\xff\xc3\xa8")}
    with Service(*QUICK, environ=environ) as service:
        assert served(service) == "n\ufffdè"


@pytest.mark.parametrize("model", ["modèle.gguf".encode(), "modèle.gguf".encode("latin-1")], indirect=True)
@pytest.mark.parametrize("locale", ["latin-1", "ascii"])
def test_accents_under_other_locales(model: Path, locale: str, request: pytest.FixtureRequest) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environ = plain if locale == "ascii" else request.getfixturevalue("latin_1")
    with Service("--n-ctx", "256", "--model-path", str(model), environ=environ) as service:
        assert served(service) == os.fsencode(model.stem).decode("utf-8", "replace")


@pytest.fixture
def stranger() -> list[str]:
    """A command that runs another one as a user who is not in the user database, but may read every file."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv")
    capability = "-all,+dac_read_search"  # this Python may be in a folder of root's
    command = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    command += [f"--{kind}={capability}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("setpriv may not change the user")
    return [*command, "env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "LLMCORE_PROFILE_DIR"]


@pytest.mark.parametrize("home", ["", "HOME=/", "HOME=/nonexistent", "HOME=relative"])
def test_a_user_without_a_home(stranger: list[str], home: str, tiny_model: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        through = [*stranger, f"TMPDIR={folder}", *filter(None, [home])]
        with Service("--n-ctx", "256", "--model-path", str(tiny_model), through=through) as service:
            assert served(service) == tiny_model.stem
        [line] = [line for line in service.log if "nothing_remembered" in line]
        assert f"{folder}/llmcore-54321/profiles" in line
        assert list(Path(folder, "llmcore-54321", "profiles").glob("*.json")), "kept for the next start in this place"


def test_a_user_with_no_folder_at_all(stranger: list[str], tiny_model: Path) -> None:
    """Read-only folders, like those of a container whose file system is read-only."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    # The folders stay writable as they are, because this checkout may be below one of them.
    closed = [f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}" for folder in ("/tmp", "/var/tmp")]
    hide = " && ".join([*closed, 'exec "$@"'])
    model = shutil.copyfile(tiny_model, Path("/dev/shm", f"llmcore-test-{os.getpid()}.gguf"))
    through = ["unshare", "-m", "sh", "-c", hide, "sh", *stranger]
    try:
        if subprocess.run([*through, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("may not mount")
        with Service("--n-ctx", "256", "--model-path", str(model), through=through) as service:
            assert served(service) == model.stem
        [line] = [line for line in service.log if "nothing_remembered" in line]
        assert "nowhere" in line
    finally:
        model.unlink()
