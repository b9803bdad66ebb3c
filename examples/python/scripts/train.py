"""A training script that knows nothing of ionian: ``torchrun --nproc-per-node 2 train.py EPOCHS``.

Learns y = 3 x with one weight. With torch its copies meet by NCCL on GPUs, by gloo without; without
torch one process trains alone.
"""

from __future__ import annotations

import os
import random
import sys

RANK = int(os.environ.get("RANK", "0"))
SIZE = int(os.environ.get("WORLD_SIZE", "1"))


def mean_over_ranks(value: float) -> float:
    if SIZE == 1:
        return value
    import torch
    import torch.distributed as dist

    on_gpu = torch.cuda.is_available()
    if not dist.is_initialized():
        if (
            on_gpu and torch.cuda.device_count() < SIZE
        ):  # slices of one GPU: see `ionian run --split`
            os.environ["NCCL_HOSTID"] = f"rank-{RANK}"
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        dist.init_process_group("nccl" if on_gpu else "gloo")
    shared = torch.tensor([value], device="cuda" if on_gpu else "cpu")
    dist.all_reduce(shared)
    return float(shared[0]) / SIZE


def main(epochs: int) -> None:
    if RANK == 0:
        print(f"{SIZE} ranks on {os.environ.get('CUDA_VISIBLE_DEVICES', 'the host')}", flush=True)
    weight, loss = random.Random(0).uniform(-1, 1), 0.0
    for epoch in range(epochs):
        for x in range(1 + RANK, 20 + RANK):
            error = weight * x - 3 * x
            loss, weight = error * error, weight - mean_over_ranks(1e-3 * error * x)
        if RANK == 0:
            print(f"epoch {epoch + 1}: weight {weight:.3f}, loss {loss:.6f}", flush=True)
    if SIZE > 1:
        import torch.distributed as dist

        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]))
