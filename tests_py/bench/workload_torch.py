"""The first matrix product of a GPU worker; the launcher has imported torch, but not touched CUDA."""

from __future__ import annotations

import torch

import ionian

app = ionian.App("bench-torch")


def matmul() -> float:
    """Returns one element of a product that was computed on the GPU, so it is finished."""
    a = torch.ones(1024, 1024, device="cuda", dtype=torch.float16)
    return float((a @ a)[0, 0].item())


remote_matmul = app.function(gpu="any", max_containers=1, scaledown_window=0.005)(matmul)

#: The same for a fresh interpreter.
FRESH = (
    "import torch; a = torch.ones(1024, 1024, device='cuda', dtype=torch.float16); "
    "print(float((a @ a)[0, 0].item()))"
)
