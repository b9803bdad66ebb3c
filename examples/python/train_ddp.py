"""Data-parallel training on real data: torch's DistributedDataParallel inside ``spmd``.

    ionian run examples/python/train_ddp.py
    ionian run --split 2 examples/python/train_ddp.py
    ionian run --simulate H100:2 examples/python/train_ddp.py --epochs 20

Every GPU has a rank with a copy of the model and its share of the digits. ``init_process_group``
needs no address and no port: the environment of a rank has them. On simulated GPUs, or without
torch, the same model is trained with numpy and the gradients are averaged by ionian's communicator.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import ionian

app = ionian.App("train-ddp")

WIDTH, BATCH, LR, MOMENTUM = 64, 64, 0.05, 0.9


def data(rank: int, size: int) -> Any:
    """Returns this rank's share of the training images, all test images, and both labels."""
    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    x, x_test, y, y_test = train_test_split(images, digits.target, test_size=0.25, random_state=0)
    return x[rank::size], x_test, y[rank::size], y_test


def batches(count: int, size: int, epoch: int) -> list[np.ndarray]:
    """Returns as many batches in every rank: a rank with one more would wait for ever."""
    order = np.random.default_rng(epoch).permutation(count)
    return [
        order[start : start + BATCH // size]
        for start in range(0, count - BATCH // size, BATCH // size)
    ]


def with_torch(epochs: int) -> float:
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.cuda.set_device(ionian.local_rank())
    if not dist.is_initialized():  # a warm rank has it from the call before
        dist.init_process_group("nccl")
    torch.manual_seed(0)
    x, x_test, y, y_test = (
        torch.as_tensor(each, device="cuda")
        for each in data(dist.get_rank(), dist.get_world_size())
    )
    model = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)).cuda()
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=LR, momentum=MOMENTUM)
    fewest = 1347 // dist.get_world_size()
    for epoch in range(epochs):
        for batch in batches(fewest, dist.get_world_size(), epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(x[batch]), y[batch]).backward()
            optimizer.step()
    return float((model(x_test).argmax(1) == y_test).float().mean())


def with_numpy(epochs: int) -> float:
    comm = ionian.communicator()
    x, x_test, y, y_test = data(comm.rank, comm.world_size)
    random = np.random.default_rng(0)
    shapes = [(64, WIDTH), (WIDTH,), (WIDTH, 10), (10,)]
    parameters = [
        random.normal(0, (2 / shape[0]) ** 0.5, shape).astype(np.float32) * (len(shape) > 1)
        for shape in shapes
    ]
    speeds = [np.zeros_like(each) for each in parameters]
    fewest = 1347 // comm.world_size
    for epoch in range(epochs):
        for batch in batches(fewest, comm.world_size, epoch):
            w1, b1, w2, b2 = parameters
            hidden = np.maximum(x[batch] @ w1 + b1, 0)
            scores = hidden @ w2 + b2
            odds = np.exp(scores - scores.max(1, keepdims=True))
            error = odds / odds.sum(1, keepdims=True)
            error[np.arange(len(batch)), y[batch]] -= 1
            error /= len(batch)
            back = (error @ w2.T) * (hidden > 0)
            gradients = [x[batch].T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
            for parameter, speed, gradient in zip(parameters, speeds, gradients, strict=True):
                comm.all_reduce(np.ascontiguousarray(gradient), "avg", out=gradient)
                speed *= MOMENTUM
                speed += gradient
                parameter -= LR * speed
    w1, b1, w2, b2 = parameters
    return float(((np.maximum(x_test @ w1 + b1, 0) @ w2 + b2).argmax(1) == y_test).mean())


@app.function(gpu="any:2", timeout=600)
@ionian.spmd(gather=True)
def train(epochs: int) -> tuple[str, float]:
    """Returns what it was trained with, and the accuracy on the test images."""
    on_gpu = ionian.communicator().device is not None
    if on_gpu and importlib.util.find_spec("torch") is not None:
        return "torch's DistributedDataParallel", with_torch(epochs)
    if on_gpu:
        raise RuntimeError("training on a real GPU needs torch: pip install torch")
    return "numpy", with_numpy(epochs)


@app.local_entrypoint()
def main(epochs: int = 30) -> None:
    ranks = train.remote(epochs)
    for rank, (how, accuracy) in enumerate(ranks):
        print(f"rank {rank} with {how}: {accuracy:.1%} of the test images are right")
    assert len({accuracy for _, accuracy in ranks}) == 1, "the copies of the model differ"
