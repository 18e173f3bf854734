"""control_groups on synthetic /proc trees."""

from __future__ import annotations

from pathlib import Path

from llmcore.machine.cgroup import ControlGroup, control_groups
from tests.machines import proc, v1, v2


def folders(root: Path, controller: str) -> list[str]:
    return ["/" + str(group.folder.relative_to(root)) for group in control_groups(controller, root)]


def test_v2_own_group_first_then_its_ancestors(tmp_path: Path) -> None:
    proc(tmp_path, "0::/system.slice/llm.service\n", v2())
    assert folders(tmp_path, "cpu") == [
        "/sys/fs/cgroup/system.slice/llm.service",
        "/sys/fs/cgroup/system.slice",
        "/sys/fs/cgroup",
    ]
    assert {group.version for group in control_groups("cpu", tmp_path)} == {2}


def test_v2_in_a_container_with_a_namespace_of_its_own(tmp_path: Path) -> None:
    proc(tmp_path, "0::/\n", v2())
    assert folders(tmp_path, "memory") == ["/sys/fs/cgroup"]


def test_v1_takes_the_hierarchy_of_the_controller(tmp_path: Path) -> None:
    proc(
        tmp_path,
        "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
        v1("/sys/fs/cgroup/memory", "memory") + v1("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
    )
    assert folders(tmp_path, "cpu") == [
        "/sys/fs/cgroup/cpu,cpuacct/docker/abc",
        "/sys/fs/cgroup/cpu,cpuacct/docker",
        "/sys/fs/cgroup/cpu,cpuacct",
    ]
    assert folders(tmp_path, "memory")[0] == "/sys/fs/cgroup/memory/docker/abc"


def test_v1_container_whose_mount_shows_only_its_own_group(tmp_path: Path) -> None:
    proc(tmp_path, "4:memory:/docker/abc\n", v1("/sys/fs/cgroup/memory", "memory", top="/docker/abc"))
    assert folders(tmp_path, "memory") == ["/sys/fs/cgroup/memory"]


def test_hybrid_machines_have_both(tmp_path: Path) -> None:
    proc(
        tmp_path,
        "4:memory:/job\n0::/job\n",
        v1("/sys/fs/cgroup/memory", "memory") + v2("/sys/fs/cgroup/unified"),
    )
    assert [
        (group.version, str(group.folder.relative_to(tmp_path))) for group in control_groups("memory", tmp_path)
    ] == [
        (1, "sys/fs/cgroup/memory/job"),
        (1, "sys/fs/cgroup/memory"),
        (2, "sys/fs/cgroup/unified/job"),
        (2, "sys/fs/cgroup/unified"),
    ]
    # This machine has no v1 hierarchy for cpu.
    assert folders(tmp_path, "cpu") == ["/sys/fs/cgroup/unified/job", "/sys/fs/cgroup/unified"]


def test_a_group_outside_of_the_namespace_leaves_the_top(tmp_path: Path) -> None:
    proc(tmp_path, "0::/../other\n", v2())
    assert folders(tmp_path, "cpu") == ["/sys/fs/cgroup"]


def test_a_mount_of_somebody_elses_group_says_nothing_about_us(tmp_path: Path) -> None:
    proc(tmp_path, "0::/docker/me\n", v2("/mnt/theirs", top="/docker/them") + v2())
    assert folders(tmp_path, "cpu")[0] == "/sys/fs/cgroup/docker/me"
    assert not any("theirs" in folder for folder in folders(tmp_path, "cpu"))


def test_escaped_mount_points(tmp_path: Path) -> None:
    proc(tmp_path, "0::/a b\n", v2(r"/sys/c\040g"))
    assert folders(tmp_path, "cpu") == ["/sys/c g/a b", "/sys/c g"]


def test_nothing_mounted_or_no_proc_at_all(tmp_path: Path) -> None:
    assert control_groups("cpu", tmp_path) == ()
    proc(tmp_path, "0::/\nrubbish\n5:memory\n", "rubbish\n1 2 - cgroup2\n")
    assert control_groups("cpu", tmp_path) == ()


def test_reading_files(tmp_path: Path) -> None:
    group = ControlGroup(2, tmp_path)
    (tmp_path / "n").write_text("12\n")
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "stat").write_text("anon 1\nfile 7\nodd\n")
    assert group.read_int("n") == 12
    assert group.read_int("max") is None
    assert group.read_int("absent") is None
    assert group.read_field("stat", "file") == 7
    assert group.read_field("stat", "odd") is None


def test_on_this_machine() -> None:
    for group in control_groups("memory"):
        assert group.folder.is_dir()
