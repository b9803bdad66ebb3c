"""A hyper-parameter sweep on real data: handwritten digits, one worker for each GPU.

    ionian run examples/python/digits_sweep.py
    ionian run --simulate A10G:2 examples/python/digits_sweep.py --epochs 10
    ionian run examples/python/digits_sweep.py::train --width 64 --lr 0.1

The classifier is a perceptron with one hidden layer: torch on a real GPU, numpy on a simulated one.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import ionian

app = ionian.App("digits-sweep")

BATCH = 64


def data() -> Any:
    """Returns 1,797 images of 8 x 8 pixels, cut into training and test: x, x_test, y, y_test."""
    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    return train_test_split(images, digits.target, test_size=0.25, random_state=0)


def on_real_gpu() -> bool:
    return not all(device.simulated for device in ionian.inventory().devices)


def accuracy_with_torch(width: int, lr: float, epochs: int) -> float:
    import torch
    from torch import nn

    torch.manual_seed(0)
    x, x_test, y, y_test = (torch.as_tensor(part, device="cuda") for part in data())
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), device="cuda").split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return float((model(x_test).argmax(1) == y_test).float().mean())


def accuracy_with_numpy(width: int, lr: float, epochs: int) -> float:
    random = np.random.default_rng(0)
    x, x_test, y, y_test = data()
    w1 = random.normal(0, (2 / 64) ** 0.5, (64, width)).astype(np.float32)
    w2 = random.normal(0, (2 / width) ** 0.5, (width, 10)).astype(np.float32)
    b1, b2 = np.zeros(width, np.float32), np.zeros(10, np.float32)
    parameters = [w1, b1, w2, b2]
    speeds = [np.zeros_like(part) for part in parameters]
    for _ in range(epochs):
        order = random.permutation(len(x))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            hidden = np.maximum(x[batch] @ w1 + b1, 0)
            scores = hidden @ w2 + b2
            odds = np.exp(scores - scores.max(1, keepdims=True))
            error = odds / odds.sum(1, keepdims=True)
            error[np.arange(len(batch)), y[batch]] -= 1
            error /= len(batch)
            back = (error @ w2.T) * (hidden > 0)
            slopes = [x[batch].T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
            for part, speed, slope in zip(parameters, speeds, slopes, strict=True):
                speed *= 0.9
                speed -= lr * slope
                part += speed
    hidden = np.maximum(x_test @ w1 + b1, 0)
    return float(((hidden @ w2 + b2).argmax(1) == y_test).mean())


@app.function(gpu="any")
def train(width: int, lr: float, epochs: int = 30) -> dict[str, Any]:
    begin = time.perf_counter()
    learn = accuracy_with_torch if on_real_gpu() else accuracy_with_numpy
    return {
        "width": width,
        "lr": lr,
        "accuracy": learn(width, lr, epochs),
        "seconds": time.perf_counter() - begin,
        "gpu": os.environ["CUDA_VISIBLE_DEVICES"],
    }


@app.local_entrypoint()
def main(epochs: int = 30) -> None:
    widths, rates = [16, 64, 256], [0.001, 0.01, 0.1]
    grid = [(width, lr, epochs) for width in widths for lr in rates]
    begin = time.perf_counter()
    results = list(train.starmap(grid))
    took = time.perf_counter() - begin
    print("width    lr  accuracy  seconds  GPU")
    for r in sorted(results, key=lambda r: -r["accuracy"]):
        print(
            f"{r['width']:5d} {r['lr']:5g} {r['accuracy']:9.3f} {r['seconds']:8.2f}  {r['gpu'][:12]}…"
        )
    gpus = len({r["gpu"] for r in results})
    kind = "real" if on_real_gpu() else "simulated"
    print(f"{len(results)} trainings on {gpus} {kind} GPU{'s' * (gpus != 1)} in {took:.1f} s")
