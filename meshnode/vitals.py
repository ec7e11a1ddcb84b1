"""Vitals: what the system says of this process, its age and its memory. Linux only, from /proc."""

from __future__ import annotations

import os
import time


def process_age_s() -> float:
    """Seconds since this process was started, imports included, as Linux counts them."""
    with open("/proc/self/stat") as file:
        # The name of the program, in parentheses, may hold spaces; field 22 is the start in ticks.
        started_ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def rss_mb() -> int:
    """Resident memory of this process in MiB, as Linux counts it."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)
