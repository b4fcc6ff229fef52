"""Memory and CPU limits that a container or a batch system puts on this process."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory_limit() -> int:
    """Give the bytes of memory this process may use: the machine's, or its control group's."""
    texts = (*_values("", "memory.max"), *_values("memory", "memory.limit_in_bytes"))
    limits = [int(text) for text in texts if text.isdecimal() and int(text) > 0]
    return min([int(psutil.virtual_memory().total), *limits])


def usable_threads() -> int:
    """Give the CPU threads this process may run on, a control group's quota rounded up."""
    affinity = getattr(os, "sched_getaffinity", None)
    threads = [len(affinity(0)) if affinity else os.cpu_count() or 1]
    quotas = [text.split() for text in _values("", "cpu.max")]
    legacy = zip(
        _values("cpu", "cpu.cfs_quota_us"), _values("cpu", "cpu.cfs_period_us"), strict=False
    )
    quotas += map(list, legacy)
    for quota, period in (pair for pair in quotas if len(pair) == 2):
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            threads.append(max(1, -(-int(quota) // int(period))))
    return min(threads)


def _values(controller: str, file: str) -> Iterator[str]:
    """Read ``file`` of this process's group and of the groups above it.

    ``controller`` names a version 1 hierarchy, empty the unified one. Inside a container the
    group's own path is often not mounted, only the root: the parents cover that.
    """
    top = ROOT / controller
    own = top / _own_path(controller).strip("/")
    for folder in (own, *own.parents):
        if folder.is_relative_to(top):
            try:
                yield (folder / file).read_text().strip()
            except OSError:
                continue


def _own_path(controller: str) -> str:
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        return "/"
    for line in lines:
        _, names, path = line.split(":", 2)
        if controller in names.split(",") or names == controller:
            return path
    return "/"
