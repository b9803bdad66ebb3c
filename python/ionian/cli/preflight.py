"""``ionian doctor --gpus``: how fast GPUs and the links between them are, and what looks wrong."""

from __future__ import annotations

import csv
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.table import Table

from .. import _core, machine
from ..exception import Error, LeaseTimeoutError

_COPY_BYTES = 256 << 20
_REDUCE_BYTES = 256 << 20
_MATMUL_SIZE = 8192
#: Of a data sheet's figure; a healthy GPU reaches more of it in these very measurements.
_MEMORY_SHARE, _RATE_SHARE, _HOST_SHARE = 0.6, 0.55, 0.6
_NVLINK_AT_LEAST = 20.0  # GB/s of one link, one way; since the second generation it is 25
_PCIE_LANE = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}  # GB/s, by generation
_QUERY = {
    "uuid": "uuid",
    "pcie_gen": "pcie.link.gen.gpucurrent",
    "pcie_gen_max": "pcie.link.gen.max",
    "pcie_width": "pcie.link.width.current",
    "pcie_width_max": "pcie.link.width.max",
    "ecc_errors": "ecc.errors.uncorrected.volatile.total",
    "thermal": "clocks_event_reasons.hw_thermal_slowdown",
    "soft_thermal": "clocks_event_reasons.sw_thermal_slowdown",
    "power_brake": "clocks_event_reasons.hw_power_brake_slowdown",
}
_SLOWED = {
    "thermal": "too hot: the hardware slows its clock",
    "soft_thermal": "hot: the driver slows its clock",
    "power_brake": "the power supply asks for less: its clock is slowed",
}


@dataclass
class Measured:
    """One GPU: GB/s of copies, TFLOP/s of products; None where it could not be measured."""

    device: _core.Device
    model: _core.GpuModel | None
    to_gpu: float | None = None
    from_gpu: float | None = None
    memory: float | None = None  # of a copy on the GPU, bytes read and written
    matmul: float | None = None
    dtype: str = ""
    condition: dict[str, str] = field(default_factory=dict)  # of _QUERY, as nvidia-smi says it

    @property
    def peak(self) -> float:
        """Returns what the catalog says of products, 0 if nothing."""
        short = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(self.dtype, "")
        return self.model.rates.get(short, 0.0) if self.model is not None else 0.0


@dataclass
class Pair:
    """Two GPUs: GB/s of copies from the first to the second, and of an all-reduce between them."""

    a: int
    b: int
    link: str
    nvlinks: int
    direct: bool = True
    copy: float | None = None
    all_reduce: float | None = None


def complaints(gpus: Sequence[Measured], pairs: Sequence[Pair]) -> Iterator[str]:
    """Yields what looks wrong in the figures, a sentence each. Pure."""
    for gpu in gpus:
        name = f"{gpu.device.type} {gpu.device.uuid}"
        yield from (f"{name}: {text}" for text in _wrong_with(gpu))
    for pair in pairs:
        name = f"GPU {pair.a} and {pair.b}"
        if pair.link == "NV" and not pair.direct:
            yield (
                f"{name} have NVLink but no direct access: copies go through the host; see whether an "
                "IOMMU or a container hides it"
            )
        elif (
            pair.link == "NV"
            and pair.copy is not None
            and pair.copy < _NVLINK_AT_LEAST * min(pair.nvlinks or 1, 2)
        ):
            yield f"{name}: {pair.copy:.0f} GB/s over {pair.nvlinks} NVLinks; that is the speed of PCIe"
        elif not pair.direct:
            yield f"{name} cannot read each other's memory: copies go through the host"
        if (
            pair.all_reduce is not None
            and pair.copy is not None
            and pair.all_reduce < pair.copy / 4
        ):
            yield (
                f"{name}: an all-reduce reaches {pair.all_reduce:.0f} GB/s where copies reach "
                f"{pair.copy:.0f}; NCCL_DEBUG=INFO shows which way it goes"
            )


def _wrong_with(gpu: Measured) -> Iterator[str]:
    condition = gpu.condition
    if gpu.model is not None:
        bandwidth = gpu.model.bandwidth_gbs
        if gpu.memory is not None and gpu.memory < _MEMORY_SHARE * bandwidth:
            yield f"its memory moves {gpu.memory:.0f} GB/s of {bandwidth:.0f}"
        if gpu.matmul is not None and gpu.matmul < _RATE_SHARE * gpu.peak:
            yield f"{gpu.matmul:.0f} TFLOP/s of {gpu.peak:.0f} in {gpu.dtype}: throttled, or shared"
    width, widest = _number(condition, "pcie_width"), _number(condition, "pcie_width_max")
    if width and widest and width < widest:
        yield f"PCIe x{width} where x{widest} is possible: the slot or a riser"
    generation = _number(condition, "pcie_gen")
    lanes = _PCIE_LANE.get(generation or 0)
    for what, rate in (("to", gpu.to_gpu), ("from", gpu.from_gpu)):
        if lanes and width and rate is not None and rate < _HOST_SHARE * lanes * width:
            yield f"copies {what} it reach {rate:.0f} GB/s of {lanes * width:.0f} of PCIe {generation} x{width}"
    if errors := _number(condition, "ecc_errors"):
        yield f"{errors} uncorrected ECC errors since the driver started: results can be wrong"
    for key, text in _SLOWED.items():
        if condition.get(key) == "Active":
            yield text


def _number(condition: dict[str, str], key: str) -> int | None:
    text = condition.get(key, "")
    return int(text) if text.isdigit() else None


def parse_conditions(text: str) -> dict[str, dict[str, str]]:
    """Returns by UUID what ``nvidia-smi --query-gpu --format=csv,noheader`` printed."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return {row[0]: dict(zip(_QUERY, row, strict=True)) for row in rows if len(row) == len(_QUERY)}


def _conditions() -> dict[str, dict[str, str]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, f"--query-gpu={','.join(_QUERY.values())}", "--format=csv,noheader"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_conditions(ended.stdout)


def model_of(device: _core.Device) -> _core.GpuModel | None:
    """Returns the catalog's row of this very form of the model: an H100 can be SXM or PCIe."""
    name = device.name.removeprefix("NVIDIA ").removeprefix("Tesla ")
    rows = [each for each in _core.catalog() if name in each.nvml_names]
    exact = [each for each in rows if each.type == device.type]
    found = exact or rows
    return found[0] if found else _core.find_model(device.type)


# ---- measuring ------------------------------------------------------------------------------------


def _measured(what: Callable[[], float], problems: list[str], name: str) -> float | None:
    try:
        return what()
    except Error as exc:
        problems.append(f"{name}: {str(exc).splitlines()[0]}")
        return None


def _measure(number: int, gpu: Measured, problems: list[str]) -> None:
    """``number``: CUDA's of the GPU in this process."""
    uuid = gpu.device.uuid

    def copies(source: int | None, target: int | None) -> float | None:
        return _measured(
            lambda: _core.copy_bandwidth(source, target, _COPY_BYTES), problems, f"copies, {uuid}"
        )

    gpu.to_gpu, gpu.from_gpu = copies(None, number), copies(number, None)
    on_gpu = copies(number, number)
    gpu.memory = None if on_gpu is None else 2 * on_gpu
    gpu.dtype = "bfloat16" if gpu.device.compute_capability >= (8, 0) else "float16"
    gpu.matmul = _measured(
        lambda: _core.matmul_rate(number, gpu.dtype, _MATMUL_SIZE), problems, f"products, {uuid}"
    )


def _pairs(
    leased: list[Measured],
    topology: _core.Topology,
    problems: list[str],
    say: Callable[[str], None],
) -> list[Pair]:
    pairs = []
    for a in range(len(leased)):
        for b in range(a + 1, len(leased)):
            first, second = leased[a].device.index, leased[b].device.index
            pair = Pair(
                first, second, topology.link(first, second), topology.nvlinks(first, second)
            )
            say(f"GPU {first} and {second} …")
            name = f"GPU {first} and {second}"
            pair.direct = _core.can_access_peer(a, b)
            copy = functools.partial(_core.copy_bandwidth, a, b, _COPY_BYTES)
            reduce = functools.partial(_core.all_reduce_bandwidth, [a, b], _REDUCE_BYTES)
            pair.copy = _measured(copy, problems, name)
            pair.all_reduce = _measured(reduce, problems, name)
            pairs.append(pair)
    return pairs


def preflight() -> bool:
    """Measures every GPU that nobody uses, prints the figures beside the catalog's, and what looks
    wrong. Returns whether nothing does."""
    os.environ.pop("IONIAN_SPLIT", None)  # slices are shares of what is measured
    inventory = machine.inventory()
    if inventory.source != "nvml" or not inventory.devices:
        why = "they are simulated" if inventory.devices else inventory.reason
        click.echo(f"no real GPU to measure: {why}")
        return False
    progress = Console(stderr=True, highlight=False)
    problems: list[str] = []
    leases, gpus = [], []
    conditions = _conditions()
    for device in inventory.devices:
        try:
            leases.append(machine.lease(device.uuid, timeout=1.0))
        except LeaseTimeoutError:
            problems.append(
                f"{device.type} {device.uuid}: in use, so not measured; `ionian gpus` says by whom"
            )
            continue
        gpus.append(Measured(device, model_of(device), condition=conditions.get(device.uuid, {})))
    try:
        # Before CUDA starts: its numbers then are those of this list.
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.device.uuid for gpu in gpus)
        for number, gpu in enumerate(gpus):
            progress.print(f"{gpu.device.type} {gpu.device.uuid} …", style="dim")
            _measure(number, gpu, problems)
        later = {each.device.uuid: each.condition for each in gpus}
        for uuid, condition in _conditions().items():  # under load it may have slowed down
            if uuid in later:
                later[uuid].update(condition)
        pairs = _pairs(
            gpus, inventory.topology, problems, lambda text: progress.print(text, style="dim")
        )
    finally:
        for lease in leases:
            lease.release()
    _show(gpus, pairs)
    problems += complaints(gpus, pairs)
    for text in problems:
        click.echo(f"{click.style('!!', fg='red')} {text}")
    if not conditions:
        click.echo("   nvidia-smi is not on the PATH: PCIe, ECC and clocks were not looked at")
    return not problems


def _text(value: float | None, of: float = 0.0) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} of {of:.0f}" if of else f"{value:.0f}"


def _show(gpus: list[Measured], pairs: list[Pair]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        *("", "gpu=", "UUID", "host → GPU GB/s", "GPU → host GB/s"),
        *("memory GB/s", "matmul TFLOP/s"),
    ):
        table.add_column(title, no_wrap=True)
    for gpu in gpus:
        bandwidth = gpu.model.bandwidth_gbs if gpu.model is not None else 0.0
        table.add_row(
            str(gpu.device.index),
            gpu.device.type,
            gpu.device.uuid,
            _text(gpu.to_gpu),
            _text(gpu.from_gpu),
            _text(gpu.memory, bandwidth),
            f"{_text(gpu.matmul, gpu.peak)} {gpu.dtype}",
        )
    console.print(table)
    if not pairs:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("pair", "link", "copy GB/s", "all-reduce GB/s"):
        table.add_column(title, no_wrap=True)
    for pair in pairs:
        link = f"NV{pair.nvlinks}" if pair.link == "NV" else pair.link
        table.add_row(f"{pair.a} – {pair.b}", link, _text(pair.copy), _text(pair.all_reduce))
    console.print(table)
