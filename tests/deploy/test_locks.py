"""The image's Python packages: each by version and hash, as pyproject.toml allows them (`make lock`)."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
IMAGE = ROOT / "deploy" / "image"
LOCKS = ("requirements.lock", "build-requirements.lock")

# The machines that an image is made for, and the Pythons that pyproject.toml names.
MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True)
class Locked:
    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        [specifier] = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def applies(requirement: Requirement, python: str, machine: str) -> bool:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def locked(name: str) -> list[Locked]:
    text = (IMAGE / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        found.append(Locked(Requirement(requirement.strip()), tuple(each.strip() for each in hashes)))
    return found


def project() -> dict[str, Any]:
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    declared: dict[str, Any] = toml.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return declared


def wanted(name: str) -> list[Requirement]:
    declared = project()
    lines = declared["project"]["dependencies"] if name == LOCKS[0] else declared["build-system"]["requires"]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_one_version_and_hashes(name: str) -> None:
    packages = locked(name)
    assert packages
    for package in packages:
        assert re.fullmatch(r"[0-9][0-9a-z.+]*", package.version), package
        assert package.requirement.url is None
        assert package.hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in package.hashes), package


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_place_to_fetch_from(name: str) -> None:
    text = (IMAGE / name).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("python", "machine"), list(itertools.product(PYTHONS, MACHINES)))
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_satisfies_what_the_project_declares(name: str, python: str, machine: str) -> None:
    here = [each for each in locked(name) if applies(each.requirement, python, machine)]
    names = [canonicalize_name(each.requirement.name) for each in here]
    assert len(names) == len(set(names)), "two versions of one package"
    versions = dict(zip(names, (each.version for each in here), strict=True))
    for requirement in wanted(name):
        if not applies(requirement, python, machine):
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in {name}: make lock"
        assert requirement.specifier.contains(version), f"{requirement} is {version} in {name}: make lock"


def test_the_pythons_are_those_of_the_project() -> None:
    classifiers = project()["project"]["classifiers"]
    assert [each for each in PYTHONS if f"Programming Language :: Python :: {each}" not in classifiers] == []
    assert sum(bool(re.search(r":: 3\.\d+$", each)) for each in classifiers) == len(PYTHONS)


def test_requirements_of_the_build_are_declared_twice_alike() -> None:
    declared = project()
    assert declared["dependency-groups"]["build"] == declared["build-system"]["requires"]


def test_the_image_installs_nothing_without_a_hash() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    calls = re.findall(r"/pip (?:--python \S+ )?((?:install|wheel|download)\b[^&\n]*)", text)
    used = set()
    for call in calls:
        if "--no-deps" in call:  # the project itself, and its wheel
            assert "--no-index" in call or "--no-build-isolation" in call, call
        else:
            assert {"--require-hashes", "--only-binary"} <= set(call.split()), call
            used |= set(re.findall(r"deploy/image/(\S+)", call))
    assert used == set(LOCKS)
