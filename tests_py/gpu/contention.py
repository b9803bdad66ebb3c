"""``python tests_py/gpu/contention.py``: how soon a waiter gets a GPU whose holder ended or was killed.

On a real GPU the holder has memory on it; on simulated ones (IONIAN_GPUS) it holds the lease alone.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time

import ionian

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
    waiting = os.fork()
    if waiting == 0:
        with ionian.lease("any") as lease:
            os._exit(0 if lease.devices else 1)
    time.sleep(0.3)  # it stands in the queue
    assert os.waitpid(waiting, os.WNOHANG)[0] == 0, "it was granted a GPU that is held"
    begin = time.monotonic()
    holder.send_signal(number)
    os.waitpid(waiting, 0)
    took = time.monotonic() - begin
    holder.communicate()
    return took


def main() -> None:
    simulated = bool(os.environ.get("IONIAN_GPUS"))
    memory = min(device.memory_bytes for device in ionian.inventory().devices) / (1 << 30)
    sizes = (0.0,) if simulated else (0.0, 1.0, 40.0, 70.0)
    for gib in (size for size in sizes if size < memory - 2):
        for number in (signal.SIGINT, signal.SIGKILL):
            times = [granted_after(number, gib) for _ in range(5 if gib < 40 else 2)]
            print(
                f"holder with {gib:g} GiB ended by {number.name}: the waiter was granted after "
                f"{statistics.median(times) * 1e3:.1f} ms (worst {max(times) * 1e3:.1f})"
            )


if __name__ == "__main__":
    main()
