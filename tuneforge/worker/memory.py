"""Memory of this process: on the GPU where it trains there, else resident. Loads torch on CUDA."""

import resource

import psutil


def current_memory(device: str) -> int:
    """Return the bytes held now."""
    if device == "cuda":
        import torch

        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: str) -> int:
    """Return the most bytes held so far."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
