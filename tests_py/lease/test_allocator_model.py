"""The allocator against a model of it that is too simple to be wrong."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from allocator_model import Model

from ionian import _core

MODELS = {"T4": 0, "A10G": 1, "H100": 2}  # and their preferences
IDS = st.integers(1, 12)
CLIENTS = st.integers(1, 4)
GPUS = st.integers(0, 7)


class AllocatorMachine(RuleBasedStateMachine):
    """Says every event to both; effects and states must be the same."""

    @initialize(types=st.lists(st.sampled_from(sorted(MODELS)), min_size=1, max_size=8))
    def machine(self, types: list[str]) -> None:
        preferences = [MODELS[each] for each in types]
        self.real = _core.Allocator(types, preferences)
        self.model = Model(types, preferences)

    def say(self, event: str, *arguments: Any) -> None:
        real = getattr(self.real, event)(*arguments)
        expected = getattr(self.model, event)(*arguments)
        assert real == expected, f"{event}{arguments}"

    def gpu(self, gpu: int) -> int:
        return gpu % len(self.model.types)

    @rule(request=IDS, client=CLIENTS, data=st.data())
    def request(self, request: int, client: int, data: st.DataObject) -> None:
        everything = range(len(self.model.types))
        asked = []
        for _ in range(data.draw(st.integers(1, 3), "alternatives")):
            name = data.draw(st.sampled_from(["any", *MODELS]), "type")
            gpus = [gpu for gpu in everything if name in ("any", self.model.types[gpu])]
            if data.draw(st.booleans(), "some of them"):
                gpus = [gpu for gpu in gpus if data.draw(st.booleans())]
            asked.append((name, data.draw(st.integers(1, 4), "count"), gpus))
        self.say("request", request, client, asked)

    @rule(request=IDS)
    def release(self, request: int) -> None:
        self.say("release", request)

    @rule(request=IDS)
    def cancel(self, request: int) -> None:
        self.say("cancel", request)

    @rule(client=CLIENTS)
    def client_died(self, client: int) -> None:
        self.say("client_died", client)

    @rule(request=IDS, client=CLIENTS, gpus=st.sets(GPUS, min_size=1, max_size=3))
    def held(self, request: int, client: int, gpus: set[int]) -> None:
        self.say("held", request, client, sorted({self.gpu(gpu) for gpu in gpus}))

    @rule(
        event=st.sampled_from(
            ["drained", "drained", "stranger_came", "stranger_left", "gpu_lost", "gpu_recovered"]
        ),
        gpu=GPUS,
    )
    def something_happens_to_a_gpu(self, event: str, gpu: int) -> None:
        self.say(event, self.gpu(gpu))

    @rule()
    def everything_drains(self) -> None:
        for gpu in range(len(self.model.types)):
            self.say("drained", gpu)

    @rule(seconds=st.sampled_from([0.0, 1.0, 9.0, 10.0]))
    def tick(self, seconds: float) -> None:
        self.say("tick", seconds)

    @invariant()
    def states_queue_and_leases_are_the_same(self) -> None:
        if not hasattr(self, "real"):
            return
        assert self.real.states() == self.model.states
        assert self.real.queue() == [each.request for each in self.model.queue]
        for request in range(1, 13):
            assert self.real.gpus_of(request) == self.model.leases.get(request, (0, []))[1]


TestAllocator = AllocatorMachine.TestCase
TestAllocator.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
