"""Which GPU am I on?

ionian run examples/python/hello_gpu.py
ionian run --simulate A10G:2 examples/python/hello_gpu.py
"""

from __future__ import annotations

import os
import subprocess

import ionian

app = ionian.App("hello-gpu")


def name_of(uuid: str) -> str:
    """Asks the driver; a simulated GPU is known to ionian alone."""
    asked = ["nvidia-smi", f"--id={uuid}", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.check_output(asked, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return next(d.name for d in ionian.inventory().devices if d.uuid == uuid) + " (simulated)"


@app.function(gpu="any")
def hello() -> tuple[int, str]:
    uuid = os.environ["CUDA_VISIBLE_DEVICES"]  # what CUDA, torch and the rest see: one GPU
    print(f"hello from process {os.getpid()}")
    return os.getpid(), uuid


@app.local_entrypoint()
def main() -> None:
    pid, uuid = hello.remote()
    print(f"the function ran in process {pid} on {uuid}")
    again, _ = hello.remote()
    print("the second call found it warm" if again == pid else "the second call got a new worker")
