"""A training script of its own, started inside a function: torchrun, or plain python without torch.

    ionian run examples/python/train_subprocess.py
    ionian run --split 2 examples/python/train_subprocess.py
    ionian run --simulate A10G:2 examples/python/train_subprocess.py --epochs 3

The script inherits the function's GPUs, its output appears here line by line, and whatever it starts
ends with the call's worker.
"""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import ionian

app = ionian.App("train-subprocess")

SCRIPT = pathlib.Path(__file__).parent / "scripts" / "train.py"


@app.function(gpu="any:2", timeout=3600)
def train(epochs: int) -> int:
    command = [sys.executable, str(SCRIPT), str(epochs)]
    if importlib.util.find_spec("torch") is not None:
        # --standalone lets torchrun look for a free port, so that two runs never meet.
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(command, check=True).returncode


@app.local_entrypoint()
def main(epochs: int = 5) -> None:
    print("exit code", train.remote(epochs))
