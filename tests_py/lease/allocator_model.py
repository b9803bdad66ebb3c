"""The allocator again, as plainly as it can be said: all of the queue is gone through every time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DRAIN_LIMIT = 10.0
Asked = tuple[str, int, list[int]]  # what was asked, how many, the GPUs that may serve it
Effect = tuple[Any, ...]


@dataclass
class Waiting:
    request: int
    client: int
    asked: list[Asked]


@dataclass
class Model:
    types: list[str]
    preferences: list[int]
    now: float = 0.0
    queue: list[Waiting] = field(default_factory=list)
    leases: dict[int, tuple[int, list[int]]] = field(default_factory=dict)  # client, GPUs
    lost: set[int] = field(default_factory=set)
    until: dict[int, float] = field(default_factory=dict)  # of draining GPUs, the oldest first

    def __post_init__(self) -> None:
        self.states = ["free"] * len(self.types)

    def by_model(self, asked: Asked) -> list[list[int]]:
        """Returns the GPUs that may serve, by model, where there are enough; the best model first."""
        name, count, gpus = asked
        models = {self.types[gpu] for gpu in gpus}
        preference = dict(zip(self.types, self.preferences, strict=True))
        order = sorted(models, key=lambda each: (each != name, preference[each], each))
        groups = [[gpu for gpu in gpus if self.types[gpu] == each] for each in order]
        return [group for group in groups if len(group) >= count]

    def decide(self) -> list[Effect]:
        effects: list[Effect] = []
        free = {gpu for gpu, state in enumerate(self.states) if state == "free"}
        for waiting in list(self.queue):
            granted = self.fit(waiting, free)
            if granted is None:
                for asked in waiting.asked:
                    free.difference_update(*self.by_model(asked))
                continue
            alternative, gpus = granted
            free.difference_update(gpus)
            for gpu in gpus:
                self.states[gpu] = "leased"
            self.queue.remove(waiting)
            self.leases[waiting.request] = (waiting.client, gpus)
            effects.append(("grant", waiting.request, alternative, gpus))
        return effects

    def fit(self, waiting: Waiting, free: set[int]) -> tuple[int, list[int]] | None:
        # All links of the machine are alike, so the lowest numbers are the best set.
        for i, asked in enumerate(waiting.asked):
            for group in self.by_model(asked):
                usable = [gpu for gpu in group if gpu in free]
                if len(usable) >= asked[1]:
                    return i, usable[: asked[1]]
        return None

    def request(self, request: int, client: int, asked: list[Asked]) -> list[Effect]:
        if request in self.leases or any(each.request == request for each in self.queue):
            return []
        if not any(self.by_model(each) for each in asked):
            return [("reject", request)]
        self.queue.append(Waiting(request, client, asked))
        return self.decide()

    def cancel(self, request: int) -> list[Effect]:
        self.queue = [each for each in self.queue if each.request != request]
        return self.decide()

    def client_died(self, client: int) -> list[Effect]:
        self.queue = [each for each in self.queue if each.client != client]
        ended = [request for request, lease in self.leases.items() if lease[0] == client]
        effects = [effect for request in ended for effect in self.give_back(request)]
        return effects + self.decide()

    def release(self, request: int) -> list[Effect]:
        effects = self.give_back(request) if request in self.leases else []
        return effects + self.decide()

    def give_back(self, request: int) -> list[Effect]:
        effects: list[Effect] = []
        for gpu in self.leases.pop(request)[1]:
            if gpu in self.lost:
                effects += self.quarantine(gpu)
            else:
                self.states[gpu] = "draining"
                self.until[gpu] = self.now + DRAIN_LIMIT
                effects.append(("drain", gpu))
        return effects

    def quarantine(self, gpu: int) -> list[Effect]:
        self.states[gpu] = "quarantined"
        self.until.pop(gpu, None)
        self.lost.discard(gpu)
        return [("quarantine", gpu)]

    def held(self, request: int, client: int, gpus: list[int]) -> list[Effect]:
        if request in self.leases or any(each.request == request for each in self.queue):
            return []
        taken = [gpu for gpu in gpus if self.states[gpu] != "leased"]
        for gpu in taken:
            if self.states[gpu] == "quarantined":
                self.lost.add(gpu)
            self.states[gpu] = "leased"
            self.until.pop(gpu, None)
        if taken:
            self.leases[request] = (client, taken)
        return self.decide()

    def move(self, gpu: int, old: str, new: str) -> list[Effect]:
        if self.states[gpu] == old:
            self.states[gpu] = new
            self.until.pop(gpu, None)
        return self.decide()

    def drained(self, gpu: int) -> list[Effect]:
        return self.move(gpu, "draining", "free")

    def stranger_came(self, gpu: int) -> list[Effect]:
        return self.move(gpu, "free", "external")

    def stranger_left(self, gpu: int) -> list[Effect]:
        return self.move(gpu, "external", "free")

    def gpu_lost(self, gpu: int) -> list[Effect]:
        if self.states[gpu] == "leased":
            self.lost.add(gpu)
            return []
        return [] if self.states[gpu] == "quarantined" else self.quarantine(gpu)

    def gpu_recovered(self, gpu: int) -> list[Effect]:
        self.lost.discard(gpu)
        return self.move(gpu, "quarantined", "free")

    def tick(self, seconds: float) -> list[Effect]:
        self.now += seconds
        late = [gpu for gpu, until in self.until.items() if until <= self.now]
        return [effect for gpu in late for effect in self.quarantine(gpu)]
