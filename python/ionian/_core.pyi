"""The C++ core, as Python sees it. One section per room; nothing here decides anything in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from typing_extensions import Buffer

from ._core_compute import *  # noqa: F403  products and collectives

__version__: str

# ---- gpu -------------------------------------------------------------------------------------------

@final
class GpuRequestItem:
    kind: str  # "model" | "memory" | "any" | "uuid"
    type: str
    binding: str  # "" | "!" | "+"
    count: int
    def __str__(self) -> str: ...

@final
class GpuRequest:
    """A parsed ``gpu=``: ``alternatives`` in order of preference."""

    @staticmethod
    def parse(text: str | list[str]) -> GpuRequest: ...
    @property
    def alternatives(self) -> list[GpuRequestItem]: ...
    def texts(self) -> list[str]: ...
    def __str__(self) -> str: ...

@final
class DeviceProcess:
    pid: int
    memory_bytes: int
    user: str
    command: str

@final
class Device:
    index: int
    uuid: str
    name: str
    type: str
    memory_bytes: int
    memory_used_bytes: int
    compute_capability: tuple[int, int]
    pci_bus_id: str
    numa_node: int
    cpus: list[int]
    mig_enabled: bool
    simulated: bool
    trouble: str
    processes: list[DeviceProcess]

@final
class Topology:
    size: int
    def link(self, a: int, b: int) -> str: ...  # "SYS" "NODE" "PHB" "PXB" "PIX" "NV" "X"
    def nvlinks(self, a: int, b: int) -> int: ...

@final
class Inventory:
    source: str  # "none" | "nvml" | "simulated"
    devices: list[Device]
    topology: Topology
    driver_version: str
    library_path: str
    reason: str

@final
class GpuModel:
    type: str
    family: str
    architecture: str
    compute_capability: tuple[int, int]
    memory_gb: int
    bandwidth_gbs: float
    rates: dict[str, float]  # dense peaks, TFLOP/s by type name
    usd_per_second: float | None
    aliases: list[str]
    nvml_names: list[str]
    source: str

def catalog() -> list[GpuModel]: ...
def find_model(name: str) -> GpuModel | None: ...
def read_inventory(
    *,
    simulate: str | None = None,
    visible_devices: str | None = None,
    timeout: float = 10.0,
    processes: bool = True,
) -> Inventory:
    """``simulate=None`` and ``visible_devices=None`` mean what the environment says."""

# ---- lease -----------------------------------------------------------------------------------------

@final
class LeaseOwner:
    pid: int
    uid: int
    user: str
    app: str
    function: str
    run: str
    since_ns: int
    callers: list[str]  # the calls that it is nested in, outermost first

@final
class Quarantine:
    uuid: str
    reason: str
    action: str
    xid: int  # 0: none
    finder: LeaseOwner
    found_now: str
    probe_in: float  # seconds

@final
class LeaseStatus:
    uuid: str
    type: str
    state: str  # "free" | "leased" | "external" | "draining" | "quarantined"
    owner: LeaseOwner | None
    strangers: list[DeviceProcess]
    left: str
    draining_since_ns: int
    quarantine: Quarantine | None

@final
class LeaseTicket:
    number: int
    request: str
    owner: LeaseOwner

@final
class LeaseKept:
    uuid: str
    request: int

@final
class LeaseObstacles:
    item: str
    count: int
    possible: bool  # False: this machine can never grant it
    free: list[str]
    busy: list[str]
    kept: list[LeaseKept]

@final
class LeaseExplanation:
    """Why a request is not granted now; ``str()`` is what people read."""

    request: str
    queued: bool  # it stands in the queue; False: asked what would be
    never: str  # why this machine can never grant it, "" if it can
    possible_now: bool  # False: it needs a GPU that is quarantined
    grant: list[str]  # UUIDs that it would get now; empty if it must wait
    position: int  # requests ahead
    alternatives: list[LeaseObstacles]
    gpus: list[LeaseStatus]
    queue: list[LeaseTicket]

@final
class Lease:
    """GPUs held in this process. A context manager; ``release()`` gives them back."""

    devices: list[Device]
    visible_devices: str
    alternative: int
    def release(self) -> None: ...
    def __enter__(self) -> Lease: ...
    def __exit__(self, *args: object) -> None: ...

@final
class LeaseBook:
    def __init__(
        self,
        inventory: Inventory,
        *,
        lock_dir: str = "",
        match: str = "upgrade",
        check_strangers: bool = True,
    ) -> None: ...
    @staticmethod
    def default_lock_dir() -> str: ...
    def check(
        self,
        request: GpuRequest,
        held_by_ancestors: Sequence[str] = (),
        asker: LeaseOwner = ...,
    ) -> None: ...
    def acquire(
        self,
        request: GpuRequest,
        *,
        app: str = "",
        function: str = "",
        timeout: float | None = None,
    ) -> Lease: ...
    def probe(self) -> None: ...
    def status(self) -> list[LeaseStatus]: ...
    def queue(self) -> list[LeaseTicket]: ...
    def leases(self) -> list[LeaseStatus]:
        """Every leased GPU of this machine, also those that the inventory does not have."""
    def explain(
        self,
        request: GpuRequest,
        *,
        held_by_ancestors: Sequence[str] = (),
        app: str = "",
        function: str = "",
        run: str = "",
        callers: Sequence[str] = (),
    ) -> LeaseExplanation:
        """Enters no queue. If that run's function waits already, its request is explained."""

@final
class Allocator:
    """The pure allocator, for tests. Every event returns its effects: ``("grant", request,
    alternative, gpus)``, ``("reject", request)``, ``("drain", gpu)``, ``("quarantine", gpu)``."""

    def __init__(self, types: Sequence[str], preferences: Sequence[int]) -> None: ...
    def request(
        self, request: int, client: int, alternatives: Sequence[tuple[str, int, Sequence[int]]]
    ) -> list[tuple[Any, ...]]: ...
    def cancel(self, request: int) -> list[tuple[Any, ...]]: ...
    def client_died(self, client: int) -> list[tuple[Any, ...]]: ...
    def release(self, request: int) -> list[tuple[Any, ...]]: ...
    def held(self, request: int, client: int, gpus: Sequence[int]) -> list[tuple[Any, ...]]: ...
    def drained(self, gpu: int) -> list[tuple[Any, ...]]: ...
    def stranger_came(self, gpu: int) -> list[tuple[Any, ...]]: ...
    def stranger_left(self, gpu: int) -> list[tuple[Any, ...]]: ...
    def gpu_lost(self, gpu: int) -> list[tuple[Any, ...]]: ...
    def gpu_recovered(self, gpu: int) -> list[tuple[Any, ...]]: ...
    def tick(self, seconds: float) -> list[tuple[Any, ...]]:
        """So much time passes."""
    def states(self) -> list[str]: ...
    def queue(self) -> list[int]: ...
    def gpus_of(self, request: int) -> list[int]: ...

# ---- exec: the caller's side ------------------------------------------------------------------------

RETURNED: int  # Call.result()[0]: the pickled value
REFUSED: int  # the same, and another attempt would be no use
RAISED: int  # a pickled (type name, message, traceback text, pickled exception or None)

@final
class Executor:
    """One run: a guardian process, its launchers and workers. Close it, or let the process end."""

    def __init__(
        self,
        *,
        guardian: str,
        app: str,
        simulate: str | None = None,
        match: str = "upgrade",
        lock_dir: str = "",
        held_by_ancestors: Sequence[str] = (),
        callers: Sequence[str] = (),
    ) -> None:
        """Starts the guardian. ``simulate=None`` means what IONIAN_GPUS says."""
    @property
    def run_id(self) -> str: ...
    @property
    def inventory(self) -> Inventory: ...
    def start_launcher(
        self, *, argv: Sequence[str | bytes], env: Sequence[bytes], cwd: str | bytes, setup: bytes
    ) -> int:
        """Begins to import the user's module in the background; ``env`` is a list of "NAME=value"."""
    def create_pool(
        self,
        *,
        launcher: int,
        name: str,
        gpu: GpuRequest | None,
        setup: bytes,
        min_containers: int = 0,
        max_containers: int = 0,
        buffer_containers: int = 0,
        scaledown_window: float = 60.0,
        timeout: float = 0.0,
        startup_timeout: float = 0.0,
        lease_timeout: float = 0.0,
        grace: float = 5.0,
        retries: tuple[int, float, float, float] = (0, 1.0, 0.0, 0.0),
        single_use: bool = False,
    ) -> Pool:
        """Raises UnsatisfiableError, LeaseDeadlockError. 0 means no limit. ``setup`` goes to each worker.
        ``retries``: most of them, coefficient, first and longest delay. ``grace``: for a body that was
        told to end."""
    def next_event(self) -> Event | None:
        """Blocks, without the GIL, for what a person should see; None once the executor is closed."""
    def stop(self) -> None:
        """Kills every worker at once; calls in flight fail. For a second Ctrl-C."""
    def close(self, grace: float = 5.0) -> None:
        """Ends the run: workers get SIGTERM, after `grace` seconds SIGKILL. Idempotent."""

@final
class Event:
    kind: str  # "stdout" | "stderr": text is one whole line; "notice" | "warning": a sentence; "progress"
    worker: int  # 1, 2, … within its pool; 0 if none
    pool: str  # the pool's name, "" if none
    text: bytes

@final
class Pool:
    """Warm workers of one function. Grows to the free GPUs (or CPUs), shrinks when idle or wanted."""

    def call(self, head: bytes, buffers: Sequence[Buffer] | None) -> tuple[int, Any, list[Any]]:
        """Submit and wait; the fast path of ``.remote()``. Returns and raises as ``Call.result`` does.
        Interruptible: KeyboardInterrupt cancels the call."""
    def submit(
        self,
        head: bytes,
        buffers: Sequence[Buffer] | None,
        group: CallGroup | None = None,
        tag: int = 0,
    ) -> Call:
        """Returns at once. Contents of ``buffers`` are copied before it returns."""
    @property
    def workers(self) -> int: ...
    @property
    def queued(self) -> int: ...

@final
class Call:
    @property
    def id(self) -> int: ...
    @property
    def tag(self) -> int: ...
    @property
    def done(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Returns whether it is done. Releases the GIL; Ctrl-C interrupts it."""
    def watch(self, eventfd: int) -> None:
        """Has an eventfd written when the call is done, at once if it is."""
    def unwatch(self, eventfd: int) -> None: ...
    def result(self) -> tuple[int, Any, list[Any]]:
        """(RETURNED | RAISED | REFUSED, head, buffers) of a call that is done: ``pickle.loads(head, buffers=buffers)``.
        Raises WorkerDiedError and the like, FunctionTimeoutError, RemoteError when cancelled."""
    def cancel(self, terminate: bool = False) -> None: ...

@final
class CallGroup:
    """Calls whose completions are taken one by one, in the order in which they end."""

    def __init__(self, executor: Executor, notify_fd: int = -1) -> None:
        """``notify_fd``: an eventfd written at each completion (for asyncio); -1 for none."""
    @property
    def pending(self) -> int:
        """Calls submitted with this group and not yet taken by ``next``."""
    def next(self, timeout: float | None = None) -> Call | None:
        """Returns a call that is done, None after ``timeout`` seconds. 0 never blocks."""
    def next_many(self, limit: int, timeout: float | None = None) -> list[Call]: ...
    def cancel(self) -> None:
        """Cancels every call of the group that is not done."""

# ---- exec: the far side ------------------------------------------------------------------------------

@final
class Launcher:
    def __init__(self) -> None: ...
    def setup(self) -> bytes | None: ...
    def ready(self, forkable: bool, reason: str) -> None: ...
    def failed(self, text: str) -> None: ...
    def next(self) -> WorkerOrder | None: ...
    def forked(self, worker: int, pid: int) -> None: ...
    def refused(self, worker: int, why: str) -> None:
        """The order could not be carried out."""
    def forget(self) -> None: ...

@final
class WorkerOrder:
    worker: int
    env: list[str]
    def become(self) -> Worker:
        """In the forked child: takes over session, output, CPUs, channel."""

@final
class Worker:
    @staticmethod
    def from_inherited() -> Worker: ...
    def setup(self) -> bytes: ...
    def next(self) -> tuple[Any, Any] | None:
        """Waits for a call: (head, buffers); None when the worker should end."""
    def started(self) -> None: ...
    def reply(self, status: int, head: bytes, buffers: Sequence[Buffer] | None) -> None: ...
    def take_cancellation(self) -> bool: ...

@final
class GangEvent:
    """What happened in a gang: "reply", "ended", or "deadline"."""

    kind: str
    rank: int
    call: int
    code: int  # RETURNED or RAISED of a reply
    exit: int  # of a rank that ended: its exit code, or minus the signal
    @property
    def message(self) -> tuple[Any, Any]:
        """(head, buffers) of a reply."""

@final
class Gang:
    """The ranks of one worker: processes that it starts, one for each of its GPUs."""

    def __init__(self, leader: Worker, ranks: int) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def complete(self) -> bool:
        """Whether every rank lives."""
    def become(self, rank: int) -> Worker:
        """In a forked child: that rank's worker."""
    def forked(self, rank: int, pid: int) -> None: ...
    def start_afresh(
        self, rank: int, argv: Sequence[bytes], env: Sequence[bytes], setup: bytes
    ) -> int: ...
    def watch(self) -> None:
        """All ranks are started."""
    def send_setup(self, setup: bytes) -> None: ...
    def send_call(self, call: int, head: bytes, buffers: Sequence[Buffer] | None) -> None: ...
    def wait(self, timeout: float | None = None) -> GangEvent:
        """Waits for the next thing to happen; Python's signal handlers run meanwhile."""
    def cancel(self, call: int) -> None: ...
    def signal(self, signal: int) -> None:
        """Sends a signal to every rank that lives."""
    def pid(self, rank: int) -> int:
        """0 if that rank has ended."""
    def tail(self, rank: int) -> str:
        """The last lines that a rank wrote."""
    def end(self) -> None:
        """Kills every rank, waits for each, and passes on what they had written."""

# ---- cuda --------------------------------------------------------------------------------------------

def cuda_reason() -> str:
    """Returns why there is no CUDA driver, "" if there is one. Initialises nothing."""

def cuda_broken() -> str: ...
def cuda_initialised() -> str:
    """Returns "" if this process may fork and use CUDA in the child, else what speaks against it."""
