"""Training that starts its own processes: torch.multiprocessing.spawn, or Lightning's strategies.

    ionian run examples/python/train_spawn.py
    ionian run --split 2 examples/python/train_spawn.py
    ionian run --simulate A10G:2 examples/python/train_spawn.py
    ionian run examples/python/train_spawn.py --lightning ddp_spawn       # or ddp_notebook

The function has two GPUs and starts a process for each. On simulated GPUs the processes are
multiprocessing's, and meet by a communicator of ionian's over shared memory.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pathlib
import socket
import sys
from typing import Any

import ionian

app = ionian.App("train-spawn")

RANKS, STEPS = 2, 40


def learn(rank: int, mean: Any) -> float:
    """Learns y = 3 x by gradients that ``mean`` averages over ranks; returns the weight."""
    weight = 0.0
    for step in range(STEPS):
        x = 1.0 + (step + rank) % 5
        weight -= 0.05 * mean((weight * x - 3 * x) * x)
    return weight


def torch_rank(rank: int, port: int, answers: Any) -> None:
    import torch
    import torch.distributed as dist

    if torch.cuda.device_count() < RANKS:  # slices of one GPU: NCCL takes them for two machines
        os.environ["NCCL_HOSTID"] = f"rank-{rank}"
    torch.cuda.set_device(rank % torch.cuda.device_count())
    dist.init_process_group(
        "nccl", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS
    )

    def mean(value: float) -> float:
        shared = torch.tensor([value], device="cuda")
        dist.all_reduce(shared)
        return float(shared[0]) / RANKS

    answers.put((rank, learn(rank, mean)))
    dist.destroy_process_group()


def numpy_rank(rank: int, identity: bytes, answers: Any) -> None:
    import numpy

    with ionian.comm.Communicator(identity, rank, RANKS) as comm:
        answers.put(
            (
                rank,
                learn(rank, lambda value: float(comm.all_reduce(numpy.array([value]), "avg")[0])),
            )
        )


@app.function(gpu="any:2", timeout=600)
def train() -> dict[int, float]:
    """Returns the weight that each process has learned."""
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    if not all(device.simulated for device in ionian.inventory().devices):
        import torch.multiprocessing

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torch.multiprocessing.spawn(torch_rank, (port, answers), nprocs=RANKS)
        return dict(answers.get() for _ in range(RANKS))
    identity = ionian.comm.unique_id("shared_memory")
    processes = [
        spawn.Process(target=numpy_rank, args=(rank, identity, answers)) for rank in range(RANKS)
    ]
    for process in processes:
        process.start()
    weights = dict(answers.get() for _ in range(RANKS))
    for process in processes:
        process.join()
    return weights


@app.function(gpu="any:2", timeout=600)
def train_with_lightning(strategy: str) -> dict[int, float]:
    """Returns the weight that rank 0 has after training with one of Lightning's own launchers."""
    if importlib.util.find_spec("pytorch_lightning") is None:
        raise RuntimeError("Lightning is not installed: pip install pytorch-lightning")
    sys.path.insert(0, str(pathlib.Path(__file__).parent / "scripts"))
    import pytorch_lightning as lightning
    import torch
    from lightning_line import Line
    from torch.utils.data import DataLoader, TensorDataset

    model = Line()
    # A slice of a split GPU is no second device to Lightning: there it trains on the host.
    on_gpus = torch.cuda.is_initialized() is False and torch.cuda.device_count() >= RANKS
    trainer = lightning.Trainer(
        accelerator="gpu" if on_gpus else "cpu", devices=RANKS, strategy=strategy, max_epochs=STEPS,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    x = 1.0 + torch.arange(8.0) % 5
    trainer.fit(model, DataLoader(TensorDataset(x), batch_size=2))
    return {0: float(model.weight.detach())}


@app.local_entrypoint()
def main(lightning: str = "") -> None:
    weights = train_with_lightning.remote(lightning) if lightning else train.remote()
    for rank in sorted(weights):
        print(f"rank {rank} learned weight {weights[rank]:.3f}")
    assert all(abs(weight - 3) < 0.05 for weight in weights.values())
