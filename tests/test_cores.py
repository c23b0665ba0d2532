"""How many cores a process may use, by its affinity and by its cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.processes import cores


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system with no cgroups yet, on a machine of 64 cores."""
    monkeypatch.setattr(cores, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_all_without_a_limit(root: Path):
    assert cores.usable_cores() == 64
    write(root / "proc/self/cgroup", "0::/\n")
    write(root / "sys/fs/cgroup/cpu.max", "max 100000\n")
    assert cores.usable_cores() == 64


@pytest.mark.parametrize(("quota", "expected"), [(400, 4), (150, 2), (20, 1), (100_000, 64)])
def test_a_quota_above_the_process_is_heeded(root: Path, quota: int, expected: int):
    write(root / "proc/self/cgroup", "0::/kubepods/pod1/container\n")
    write(root / "sys/fs/cgroup/kubepods/pod1/cpu.max", f"{quota}000 100000\n")
    write(root / "sys/fs/cgroup/kubepods/pod1/container/cpu.max", "max 100000\n")
    assert cores.usable_cores() == expected


def test_a_container_sees_its_own_group_at_the_root(root: Path):
    write(root / "proc/self/cgroup", "0::/docker/0123abc\n")
    write(root / "sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert cores.usable_cores() == 2


def test_the_first_version_of_cgroups(root: Path):
    write(root / "proc/self/cgroup", "5:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/\n")
    write(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(root / "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "300000\n")
    write(root / "sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n")
    assert cores.usable_cores() == 3


def test_affinity_is_heeded(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cores.usable_cores() == 2
