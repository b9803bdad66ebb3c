"""Which real GPUs the rows can use, and how they are called in the table."""

from __future__ import annotations

import importlib.util
import os

import ionian


def why_not() -> str:
    """Returns "" if this machine has a real GPU and torch, else what is missing, in a line."""
    inventory = ionian.inventory()
    if inventory.source != "nvml" or not inventory.devices:
        return f"no real GPU here: {inventory.reason or inventory.source}".splitlines()[0]
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    return ""


def two() -> str:
    """Has two GPUs offered, slices of one if there is no second; returns what they are."""
    devices = ionian.inventory().devices
    if len(devices) > 1 and "/" not in devices[0].uuid:
        return f"2 × {devices[0].name}"
    os.environ["IONIAN_SPLIT"] = "2"
    return f"SPLIT: 2 slices of one {devices[0].name}; times say nothing of two GPUs"
