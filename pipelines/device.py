"""The little that differs between a CPU and a GPU."""

import os
from pathlib import Path
from typing import NamedTuple

import torch


class DeviceMemory(NamedTuple):
    """Of a GPU, whoever takes it; without one, what this process has of the machine's."""

    used_bytes: int
    total_bytes: int


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait_for(device: torch.device) -> None:
    """Wait until this thread's work on the device is done."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def use_own_stream(device: torch.device) -> None:
    """Give this thread a lane of its own on devices that have lanes, beside the one that steps."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.set_stream(torch.cuda.Stream(device))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def free_cached_memory(device: torch.device) -> None:
    """Hand back what the allocator keeps for reuse, so that one large block can be had."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def device_memory(device: torch.device) -> DeviceMemory:
    """What is taken now of what there is."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceMemory(total - free, total)
    page = os.sysconf("SC_PAGE_SIZE")
    # Its second field is the resident set, in pages (proc_pid_statm(5)).
    statm = Path("/proc/self/statm")
    resident = int(statm.read_text().split()[1]) if statm.exists() else 0
    return DeviceMemory(resident * page, os.sysconf("SC_PHYS_PAGES") * page)
