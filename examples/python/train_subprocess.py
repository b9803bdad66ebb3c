"""A training script of its own, started inside a function: what frameworks that re-execute need.

    ionian run --simulate A10G:1 examples/python/train_subprocess.py --epochs 3

The script inherits the function's GPUs, its output appears here line by line, and whatever it starts
ends with the call's worker.
"""

from __future__ import annotations

import subprocess
import sys

import ionian

app = ionian.App("train-subprocess")

SCRIPT = """
import os, random, sys
epochs = int(sys.argv[1])
print("training on", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
weight, loss = random.Random(0).uniform(-1, 1), 0.0
for epoch in range(epochs):
    for x in range(1, 20):                      # learns y = 3 x
        error = weight * x - 3 * x
        loss, weight = error * error, weight - 1e-3 * error * x
    print(f"epoch {epoch + 1}: weight {weight:.3f}, loss {loss:.6f}", flush=True)
"""


@app.function(gpu="any", timeout=3600)
def train(epochs: int) -> int:
    command = [sys.executable, "-c", SCRIPT, str(epochs)]  # or ["torchrun", ..., "train.py"]
    return subprocess.run(command, check=True).returncode


@app.local_entrypoint()
def main(epochs: int = 5) -> None:
    print("exit code", train.remote(epochs))
