"""A list of GPUs is an order of preference: the first that can be had now is taken.

ionian run --simulate H100:2,L4:1 examples/python/fallbacks.py
"""

from __future__ import annotations

import os
from collections import Counter

import ionian

app = ionian.App("fallbacks")


def model_of(uuid: str) -> str:
    return next((d.type for d in ionian.inventory().devices if d.uuid == uuid), "unknown")


# One H100 is best; if all are busy an A100 will do; "any" is better than waiting.
@app.function(gpu=["H100", "A100-80GB", "any"])
def where(work: int) -> str:
    sum(i * i for i in range(200_000))
    return os.environ["CUDA_VISIBLE_DEVICES"]


# A request that can never be granted raises at once and says what exists.
@app.function(gpu="B300:64")
def impossible() -> None:
    pass


@app.local_entrypoint()
def main(calls: int = 40) -> None:
    used = Counter(model_of(uuid) for uuid in where.map(range(calls)))
    for model, count in used.most_common():
        print(f"{count:4d} calls on {model}")
    try:
        impossible.remote()
    except ionian.exception.UnsatisfiableError as error:
        print(str(error).splitlines()[0])
