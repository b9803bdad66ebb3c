"""What ``@app.function(...)`` takes, checked where it is written."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .exception import InvalidError
from .retries import Retries, parse_retries

if TYPE_CHECKING:
    from . import _core

#: Of the service: they place or describe a container, and there is none here.
_NOTHING_TO_DO = frozenset(
    "image cpu memory ephemeral_disk cloud region routing_region proxy i6pn nonpreemptible "
    "include_source block_network restrict_modal_access".split()
)
_OLD_NAMES = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
}
_NAMES = (
    "gpu name env timeout startup_timeout lease_timeout retries min_containers max_containers "
    "buffer_containers scaledown_window single_use_containers serialized"
).split()
#: What a handle of its own may change: ``Function.with_options``.
_VARIABLE = frozenset(
    "gpu env retries timeout lease_timeout max_containers buffer_containers scaledown_window".split()
)
_DEFAULT_TIMEOUT = 300.0
_DEFAULT_WINDOW = 60.0
_MOST = 1_000_000


@dataclass(frozen=True, eq=False)
class Options:
    """Checked. 0 means no limit, as in the core."""

    gpu: _core.GpuRequest | None = None
    env: dict[str, str] = field(default_factory=dict)
    timeout: float = _DEFAULT_TIMEOUT
    startup_timeout: float = _DEFAULT_TIMEOUT
    retries: Retries | None = None
    lease_timeout: float = 0.0
    min_containers: int = 0
    max_containers: int = 0
    buffer_containers: int = 0
    scaledown_window: float = _DEFAULT_WINDOW
    single_use_containers: bool = False
    serialized: bool = False

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Options:
        """Returns the options, or raises InvalidError for the first that is wrong."""
        given = dict(given)
        _accept_others(given)
        gpu = None
        if given.get("gpu") is not None:
            from .gpu import parse_gpu

            gpu = parse_gpu(given["gpu"], stacklevel=5)
        minimum = _count(given, "min_containers")
        maximum = _count(given, "max_containers")
        if maximum == 0 and given.get("max_containers") is not None:
            raise InvalidError("[app.function] expected max_containers= of at least 1, got 0")
        if maximum and minimum > maximum:
            raise InvalidError(
                f"[app.function] min_containers={minimum} is more than max_containers={maximum}"
            )
        timeout = _seconds(given, "timeout", _DEFAULT_TIMEOUT, optional=False)
        return cls(
            gpu=gpu,
            env=_environment(given.get("env")),
            timeout=timeout,
            startup_timeout=_seconds(given, "startup_timeout", timeout, optional=True),
            retries=parse_retries(given.get("retries")),
            lease_timeout=_seconds(given, "lease_timeout", 0.0, optional=True)
            if given.get("lease_timeout") is not None
            else 0.0,
            min_containers=minimum,
            max_containers=maximum,
            buffer_containers=_count(given, "buffer_containers"),
            scaledown_window=_seconds(given, "scaledown_window", _DEFAULT_WINDOW, optional=True),
            single_use_containers=_flag(given, "single_use_containers"),
            serialized=_flag(given, "serialized"),
        )

    def with_options(self, given: dict[str, Any]) -> Options:
        """Returns these options with those of ``given`` that say something: None, 0 and {} do not unset,
        but ``retries=0`` does. ``min_containers`` is the first handle's alone. Raises InvalidError.
        """
        given = dict(given)
        _accept_others(given)
        for name in given:
            if name not in _VARIABLE:
                raise InvalidError(
                    f"[with_options] {name}= belongs to @app.function\n"
                    f"expected: {', '.join(sorted(_VARIABLE))}"
                )
        said = {
            name: value
            for name, value in given.items()
            if value or (name == "retries" and value is not None)
        }
        parsed = Options.parse(said)
        changes = {name: getattr(parsed, name) for name in said}
        return dataclasses.replace(self, min_containers=0, **changes)

    def key(self) -> tuple[Any, ...]:
        """Returns what is equal for equal options."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["gpu"] = None if self.gpu is None else tuple(self.gpu.texts())
        values["env"] = tuple(sorted(self.env.items()))
        return tuple(values.values())


def _accept_others(given: dict[str, Any]) -> None:
    for old, new in _OLD_NAMES.items():
        if old in given:
            warnings.warn(f"[app.function] {old}= is now {new}=", DeprecationWarning, stacklevel=5)
            given.setdefault(new, given.pop(old))
    if "max_inputs" in given:
        warnings.warn(
            "[app.function] max_inputs= is now single_use_containers=",
            DeprecationWarning,
            stacklevel=5,
        )
        if (most := given.pop("max_inputs")) is not None:
            if most != 1 or isinstance(most, bool):
                raise InvalidError(
                    f"[app.function] expected max_inputs= to be 1, got {_shown(most)}\n"
                    "next: write single_use_containers=True for a fresh worker for each input"
                )
            given.setdefault("single_use_containers", True)
    ignored = sorted(name for name in given if name in _NOTHING_TO_DO)
    for name in ignored:
        del given[name]
    if ignored:
        warnings.warn(
            f"[app.function] {', '.join(ignored)}: no container here, so no effect; the function runs in "
            "this Python environment",
            UserWarning,
            stacklevel=5,
        )
    unknown = sorted(set(given) - set(_NAMES))
    if unknown:
        import difflib

        near = difflib.get_close_matches(unknown[0], _NAMES, 1)
        hint = f"; did you mean {near[0]}=?" if near else ""
        raise InvalidError(
            f"[app.function] unknown option {unknown[0]}={hint}\nexpected: {', '.join(_NAMES)}"
        )


def _shown(value: object) -> str:
    text = (
        "a number of many digits" if isinstance(value, int) and abs(value) > 10**20 else repr(value)
    )
    return text if len(text) <= 60 else text[:57] + "..."


def _count(given: dict[str, Any], name: str) -> int:
    value = given.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise InvalidError(
            f"[app.function] expected {name}= to be a whole number from 0 to {_MOST}, got {_shown(value)}"
        )
    return value


def _flag(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise InvalidError(
            f"[app.function] expected {name}= to be True or False, got {_shown(value)}"
        )
    return value


def _seconds(given: dict[str, Any], name: str, default: float, *, optional: bool) -> float:
    value = given.get(name, default)
    if value is None and optional:
        return default
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not 0 < value <= sys.float_info.max:
        raise InvalidError(
            f"[app.function] expected {name}= in seconds, more than 0, got {_shown(value)}"
            + (
                "\nnext: for hours of work write e.g. timeout=24 * 3600"
                if name == "timeout"
                else ""
            )
        )
    return float(value)


def default_lease_timeout() -> float:
    """Returns IONIAN_LEASE_TIMEOUT in seconds, 0 if it is not set: for functions that say nothing."""
    text = os.environ.get("IONIAN_LEASE_TIMEOUT", "")
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= sys.float_info.max:
        raise InvalidError(
            f"[IONIAN_LEASE_TIMEOUT] expected seconds, more than 0, got {_shown(text)}"
        )
    return value


def _environment(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidError(
            f"[app.function] expected env= to be a dict of texts, got {type(value).__name__}"
        )
    env: dict[str, str] = {}
    for name, text in value.items():
        if text is None:
            continue
        if not isinstance(name, str) or not isinstance(text, str) or not name or "=" in name:
            raise InvalidError(
                f"[app.function] env= has {name!r}: {text!r}; names and values are texts"
            )
        if "\0" in name or "\0" in text:
            raise InvalidError(f"[app.function] env= has a NUL byte in {name!r}")
        env[name] = text
    return env


def check_function(raw: Callable[..., Any], options: Options) -> None:
    """Raises if ``raw`` cannot be a function of an app."""
    from .function import Function
    from .ranks import spmd_of

    if isinstance(raw, Function):
        return
    if isinstance(raw, type):
        raise TypeError(
            "[app.function] a class cannot be a function; decorate a function that makes the object and uses it"
        )
    if isinstance(raw, (staticmethod, classmethod)) or not callable(raw):
        raise InvalidError(f"[app.function] expected a function, got {type(raw).__name__}")
    target = inspect.unwrap(raw)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise InvalidError(
            f"[app.function] {getattr(raw, '__name__', raw)!r} is a generator, which cannot be called remotely "
            "yet; return a list, or map over the inputs"
        )
    if not hasattr(raw, "__qualname__") or not hasattr(raw, "__module__"):
        raise InvalidError(
            f"[app.function] expected a function defined with def, got {type(raw).__name__}; wrap it in one"
        )
    qualname = raw.__qualname__
    nested_in_class = "." in qualname and "<locals>." not in qualname
    in_class = nested_in_class or "." in qualname.rpartition("<locals>.")[2]
    if spmd_of(raw) is not None and options.gpu is None:
        raise InvalidError(
            f"[app.function] {qualname!r} is marked with @ionian.spmd(), but no gpu= says how many ranks it has\n"
            'next: write e.g. @app.function(gpu="any:2")'
        )
    if in_class and not options.serialized:
        raise InvalidError(
            f"[app.function] {qualname!r} is a method; decorate a function at the top of the module"
        )
