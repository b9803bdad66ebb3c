"""``python tests_py/gpu/contention.py [GIB...]``: how soon a waiter gets a GPU whose holder ended.

On a real GPU the holder has so much memory on it; on simulated ones (IONIAN_GPUS) it holds the lease
alone. The holder is interrupted, then killed.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time

import ionian
from ionian import _core

HOLDER = """
import ionian, os, sys, time
app = ionian.App("holder")

@app.function(gpu="any", serialized=True)
def hold(gib):
    if gib:
        import torch
        x = torch.zeros(int(gib * (1 << 30)), dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()
    print("holding", flush=True)
    time.sleep(1000)

with app.run():
    hold.remote(float(sys.argv[1]))
"""

WAITER = """
import ionian
with ionian.lease("any"):
    print("granted", flush=True)
"""


def granted_after(number: signal.Signals, gib: float) -> float:
    """Returns the seconds from the signal to the holder until the GPU is ours."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(gib)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    book = _core.LeaseBook(ionian.inventory())
    waiter = subprocess.Popen([sys.executable, "-c", WAITER], stdout=subprocess.PIPE, text=True)
    assert waiter.stdout is not None
    while not book.queue():
        assert waiter.poll() is None, "it was granted a GPU that is held"
        time.sleep(0.01)
    begin = time.monotonic()
    holder.send_signal(number)
    assert waiter.stdout.readline() == "granted\n"
    took = time.monotonic() - begin
    waiter.communicate()
    holder.communicate()
    return took


def main() -> None:
    simulated = bool(os.environ.get("IONIAN_GPUS"))
    memory = min(device.memory_bytes for device in ionian.inventory().devices) / (1 << 30)
    asked = tuple(float(each) for each in sys.argv[1:]) or (0.0, 1.0, 40.0, 70.0)
    sizes = (0.0,) if simulated else asked
    for gib in (size for size in sizes if size < memory - 2):
        for number in (signal.SIGINT, signal.SIGKILL):
            times = [granted_after(number, gib) for _ in range(5 if gib < 40 else 2)]
            print(
                f"holder with {gib:g} GiB ended by {number.name}: the waiter was granted after "
                f"{statistics.median(times) * 1e3:.1f} ms (worst {max(times) * 1e3:.1f})"
            )


if __name__ == "__main__":
    main()
