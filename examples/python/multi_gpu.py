"""Several GPUs in one function: it sees exactly those, all of one model.

ionian run --simulate H100:4 examples/python/multi_gpu.py
ionian run examples/python/multi_gpu.py --gpus 1
"""

from __future__ import annotations

import os

import ionian

app = ionian.App("multi-gpu")


def look() -> list[str]:
    """Returns the GPUs that this process sees; on real ones each multiplies a matrix."""
    uuids = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    if all(device.simulated for device in ionian.inventory().devices):
        return uuids
    import torch

    assert torch.cuda.device_count() == len(uuids)
    for index in range(len(uuids)):
        x = torch.ones(1024, 1024, device=f"cuda:{index}")
        assert float((x @ x)[0, 0]) == 1024
    return uuids


one = app.function(gpu="any", name="one")(look)
two = app.function(gpu="any:2", name="two")(look)
four = app.function(gpu="any:4", name="four")(look)


@app.local_entrypoint()
def main(gpus: int = 2) -> None:
    functions = {1: one, 2: two, 4: four}
    if gpus not in functions:
        raise SystemExit(f"--gpus {gpus}: this example has functions for {sorted(functions)} GPUs")
    for number, uuid in enumerate(functions[gpus].remote()):
        print(f"device {number}: {uuid}")
