"""How much processor time processes have used, from /proc."""

import os
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Fields of /proc/<pid>/stat after the name of the program, which may hold anything and ends with a bracket."""


def cpu_seconds(pid: int) -> float:
    """Processor time, in and out of the kernel, of a process and its living children, all the way down."""
    children = (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / _TICKS_PER_SECOND + sum(cpu_seconds(int(child)) for child in children)
