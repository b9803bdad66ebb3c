"""How often a failed call is tried again, and how long each attempt waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .exception import InvalidError

_MOST = 1_000_000


def _number(name: str, value: Any, least: float, most: float) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not least <= value <= most:
        shown = repr(value) if len(repr(value)) <= 60 else type(value).__name__
        raise InvalidError(
            f"[Retries] expected {name}= to be a number from {least:g} to {most:g}, got {shown}"
        )
    return float(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """What ``retries=`` of a function takes; a whole number there means as many, 1 s apart.

    ``max_retries``: attempts beyond the first. ``initial_delay``: seconds before the second attempt,
    0 to 60. ``backoff_coefficient``: by how much each delay is longer than the one before, 1 to 10.
    ``max_delay``: seconds that no delay exceeds, 1 to 60.

    Tried again are exceptions of the body, a FunctionTimeoutError, and the death of the worker once
    the body was entered, also because its GPU failed (another GPU is used then, or the same once it
    is well): so the body is entered at most 1 + ``max_retries`` times. Not tried again is what would
    fail the same way: InvalidError, values that cannot be sent, and what was cancelled.
    """

    max_retries: int
    backoff_coefficient: float = 2.0
    initial_delay: float = 1.0
    max_delay: float = 60.0

    def __post_init__(self) -> None:
        count = self.max_retries
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST:
            shown = repr(count) if not isinstance(count, int) or abs(count) < 10**20 else "more"
            raise InvalidError(
                f"[Retries] expected max_retries= to be a whole number from 0 to {_MOST}, got {shown[:60]}"
            )
        for name, least, most in (
            ("backoff_coefficient", 1.0, 10.0),
            ("initial_delay", 0.0, 60.0),
            ("max_delay", 1.0, 60.0),
        ):
            object.__setattr__(self, name, _number(name, getattr(self, name), least, most))


def parse_retries(value: Any) -> Retries | None:
    """Returns what ``retries=`` says, None for no retries. Raises InvalidError."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = Retries(max_retries=value, backoff_coefficient=1.0)
    if not isinstance(value, Retries):
        shown = repr(value) if len(repr(value)) <= 60 else type(value).__name__
        raise InvalidError(
            f"[app.function] expected retries= to be a whole number or ionian.Retries(...), got {shown}"
        )
    return value if value.max_retries else None
