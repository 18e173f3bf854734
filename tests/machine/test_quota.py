"""Quotas and throttling on synthetic control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.machine.quota import Quota, Throttling, cpu_quotas, cpu_throttling, lowest_quota_cpus
from tests.machines import cfs, cpu_max, proc, v1, v2

V2_STAT = "usage_usec 9\nnr_periods 200\nnr_throttled 50\nthrottled_usec 2500000\nnr_bursts 0"
V1_STAT = "nr_periods 10\nnr_throttled 4\nthrottled_time 1500000000"


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000", None),
        ("400000 100000", 4.0),
        ("50000 100000", 0.5),
        ("60000 20000", 3.0),
        ("100000", None),
        ("0 100000", None),
        ("", None),
        ("nonsense", None),
        ("² 1", None),
    ],
)
def test_v2(tmp_path: Path, text: str, cpus: float | None) -> None:
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", text)
    assert lowest_quota_cpus(tmp_path) == cpus


@pytest.mark.parametrize(("quota_us", "cpus"), [(-1, None), (150_000, 1.5), (50_000, 0.5)])
def test_v1(tmp_path: Path, quota_us: int, cpus: float | None) -> None:
    proc(tmp_path, "2:cpu:/docker/abc\n", v1("/sys/fs/cgroup/cpu", "cpu,cpuacct"))
    cfs(tmp_path, "docker/abc", quota_us)
    cfs(tmp_path, "", -1)
    assert lowest_quota_cpus(tmp_path) == cpus


def test_nested_v2_quotas(tmp_path: Path) -> None:
    proc(tmp_path, "0::/pod/box/inner\n", v2())
    cpu_max(tmp_path, "pod/box/inner", "max 100000", V2_STAT)
    cpu_max(tmp_path, "pod/box", "300000 100000", V2_STAT)
    cpu_max(tmp_path, "pod", "150000 100000", V2_STAT.replace("50", "7"))
    assert cpu_quotas(tmp_path) == (Quota(3.0, 1), Quota(1.5, 2))
    assert lowest_quota_cpus(tmp_path) == 1.5
    # A group without a quota is never throttled: its file does not matter.
    assert cpu_throttling(tmp_path) == (
        Throttling(Quota(3.0, 1), 200, 50, 2.5),
        Throttling(Quota(1.5, 2), 200, 7, 0.27),
    )


def test_nested_v1_quotas(tmp_path: Path) -> None:
    proc(tmp_path, "3:memory:/a/b\n2:cpu,cpuacct:/a/b\n", v1("/sys/fs/cgroup/cpu", "cpu,cpuacct"))
    cfs(tmp_path, "a/b", 200_000, stat=V1_STAT)
    cfs(tmp_path, "a", 100_000, stat=V1_STAT.replace("4", "5"))
    cfs(tmp_path, "", -1, stat=V1_STAT)
    assert lowest_quota_cpus(tmp_path) == 1.0
    assert cpu_throttling(tmp_path) == (Throttling(Quota(2.0, 0), 10, 4, 1.5), Throttling(Quota(1.0, 1), 10, 5, 1.5))


def test_a_group_that_does_not_tell_is_left_out(tmp_path: Path) -> None:
    proc(tmp_path, "0::/a\n", v2())
    cpu_max(tmp_path, "a", "100000 100000", "usage_usec 5\nnr_periods 3")
    assert cpu_quotas(tmp_path) == (Quota(1.0, 0),)
    assert cpu_throttling(tmp_path) == ()


def test_no_groups_at_all(tmp_path: Path) -> None:
    assert cpu_quotas(tmp_path) == ()
    assert lowest_quota_cpus(tmp_path) is None
    assert cpu_throttling(tmp_path) == ()
