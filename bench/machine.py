"""The class of hardware that figures come from: enough to judge them, nothing that names a host."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

IN_MEMORY = frozenset({"ramfs", "tmpfs"})
"""File systems on which a sync is free, so that every durable figure would be fiction."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is published beside the figures."""

    cores: int
    architecture: str
    system: str
    file_system: str
    python: str
    load_at_start: float
    """Runnable processes in the minute before; well above zero means that others were at work."""

    def __str__(self) -> str:
        """Return it as one line."""
        return (
            f"{self.cores} cores ({self.architecture}), {self.file_system} disk, {self.system}, "
            f"Python {self.python}, load {self.load_at_start:.1f} at the start"
        )


def this_machine(folder: Path) -> Machine:
    """Describe the machine, and the file system that `folder` is on."""
    return Machine(
        cores=os.cpu_count() or 1,
        architecture=platform.machine(),
        system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        file_system=file_system(folder.resolve()),
        python=platform.python_version(),
        load_at_start=os.getloadavg()[0],
    )


def file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the type of the file system under `folder`; the longest mount point wins."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return "unknown"
    mounted = {Path(line.split()[1]): line.split()[2] for line in lines}
    return next((mounted[place] for place in (folder, *folder.parents) if place in mounted), "unknown")
