"""Values as bytes: pickle 5, large buffers out of band, by value what cannot be found by name.

A message is ``(head, buffers)``: the pickle, and the buffers of arrays that are too large to copy
into it (None if there are none).
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

from .exception import (
    DeserializationError,
    InputCancellation,
    RankError,
    RemoteError,
    RemoteTraceback,
    SerializationError,
)

Buffers = list[pickle.PickleBuffer]

_OUT_OF_BAND = 16 << 10  # below this a copy is cheaper than a buffer of its own
_MAX_MESSAGE = 64 << 10
_MAX_TRACEBACK = 256 << 10
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep

#: Set where nothing of ``__main__`` can be imported (a notebook, ``python -c``): such objects go by
#: value. ``pickle`` alone would send their names.
main_by_value = False

_PLAIN = frozenset((int, float, str, bytes, bool, type(None)))


def dumps(value: Any, what: str) -> tuple[bytes, Buffers | None]:
    """Returns the message of ``value``; ``what`` names it in errors ("the arguments").

    Raises SerializationError with the path to what cannot be sent.
    """
    if type(value) in _PLAIN:
        return pickle.dumps(value, 5), None
    if main_by_value:
        return _dumps_by_value(value, what)
    buffers: Buffers = []

    try:
        head = pickle.dumps(value, 5, buffer_callback=_sieve(buffers))
    except Exception:
        return _dumps_by_value(value, what)
    return head, buffers or None


def dumps_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Buffers | None]:
    """Returns the message of a call's arguments."""
    if not kwargs and all(type(arg) in _PLAIN for arg in args):
        try:
            return pickle.dumps((args, kwargs), 5), None
        except UnicodeEncodeError:  # a lone surrogate; pickle 5 carries it, cloudpickle too
            pass
    return dumps((args, kwargs), "the arguments")


def _sieve(buffers: Buffers) -> Callable[[pickle.PickleBuffer], bool]:
    """Returns a callback that keeps large buffers out of the pickle, in ``buffers``."""

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < _OUT_OF_BAND or not _is_contiguous(buffer):
            return True
        buffers.append(buffer)
        return False

    return keep_in_band


def _is_contiguous(buffer: pickle.PickleBuffer) -> bool:
    try:
        buffer.raw()
    except BufferError:
        return False
    return True


def _dumps_by_value(value: Any, what: str) -> tuple[bytes, Buffers | None]:
    buffers: Buffers = []

    try:
        stream = io.BytesIO()
        _by_value_pickler()(stream, protocol=5, buffer_callback=_sieve(buffers)).dump(value)
    except Exception as exc:
        path, culprit = _culprit(value, what)
        raise SerializationError(
            f"{path} cannot be sent: {_short(culprit)}: {type(exc).__name__}: {_short_text(exc)}\n"
            "expected: what pickle or cloudpickle can carry; send plain data, arrays or paths, and "
            "open files, connections and generators inside the function"
        ) from exc
    return stream.getvalue(), buffers or None


@functools.cache
def _by_value_pickler() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, io.TextIOWrapper):  # cloudpickle would send its text as a copy
                raise TypeError("an open file belongs to its process")
            return super().reducer_override(obj)

    return Pickler


def loads(head: Any, buffers: Any) -> Any:
    """Returns the value of a message. Raises whatever rebuilding it raises."""
    return pickle.loads(head, buffers=buffers or ())


def loads_result(head: Any, buffers: Any, origin: str) -> Any:
    """Returns a result in the caller. Raises DeserializationError if it cannot be rebuilt."""
    try:
        return pickle.loads(head, buffers=buffers or ())
    except Exception as exc:
        raise DeserializationError(
            f"[{origin}] the result came back but cannot be rebuilt in the caller: "
            f"{type(exc).__name__}: {_short_text(exc)}\n"
            "next: return a type that the calling process can import too"
        ) from exc


def _can_go(value: Any) -> bool:
    try:
        _by_value_pickler()(io.BytesIO(), protocol=5).dump(value)
    except Exception:
        return False
    return True


def _culprit(value: Any, path: str) -> tuple[str, Any]:
    """Returns the innermost part of ``value`` that cannot be sent, and where it is."""
    seen: set[int] = set()
    while id(value) not in seen and len(seen) < 32:
        seen.add(id(value))
        for step, part in _parts(value, path):
            if id(part) not in seen and not _can_go(part):
                path, value = step, part
                break
        else:
            break
    return path, value


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    if path == "the arguments" and type(value) is tuple and len(value) == 2:
        args, kwargs = value
        named = [(f"argument {name}=", part) for name, part in kwargs.items()]
        return [(f"argument {i}", part) for i, part in enumerate(args, 1)] + named
    if isinstance(value, dict):
        return [(f"{path}[{_short(key)}]", part) for key, part in list(value.items())[:1000]]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{i}]", part) for i, part in enumerate(value[:1000])]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, type):
        return [(f"{path}.{name}", part) for name, part in list(attributes.items())[:1000]]
    return []


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except BaseException:
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _short_text(exc: BaseException) -> str:
    text = _message(exc).split("\n", 1)[0]
    return text if len(text) <= 100 else text[:97] + "..."


def _message(exc: BaseException) -> str:
    try:
        text = str(exc)
    except BaseException as broken:
        text = f"<its text cannot be had: {type(broken).__name__}>"
    return _capped(text, _MAX_MESSAGE)


def _capped(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    return f"{text[: limit // 2]}\n... {left_out} characters left out ...\n{text[-limit // 2 :]}"


def _own_frames_cut(exc: BaseException) -> Any:
    """Returns the traceback without our frames at its beginning."""
    frames = exc.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HERE):
        frames = frames.tb_next
    return frames


def traceback_text(exc: BaseException) -> str:
    """Returns the traceback as Python prints it, from the user's first frame on, of bounded size."""
    try:
        lines = traceback.format_exception(type(exc), exc, _own_frames_cut(exc))
        return _capped("".join(lines), _MAX_TRACEBACK)
    except BaseException:
        return f"{type(exc).__qualname__}: {_message(exc)}\n(its traceback cannot be printed)\n"


def encode_exception(exc: BaseException) -> bytes:
    """Returns an exception as an answer, whatever it is: its type's name, text and traceback as
    plain data, and the exception itself if it can be pickled. Never raises."""
    pickled: bytes | str = "it cannot be pickled"  # or why it is not sent
    try:
        import cloudpickle

        try:
            pickled = pickle.dumps(exc, 5)
        except Exception:
            pickled = cloudpickle.dumps(exc, 5)
        if len(pickled) > 2 * _MAX_MESSAGE:
            pickled = "it is too large to send"
    except BaseException:
        pass
    kind = type(exc)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return pickle.dumps((name, _message(exc), traceback_text(exc), pickled), 5)


def decode_exception(head: Any, origin: str) -> BaseException:
    """Returns the exception of an answer, with the far side's traceback as its ``__cause__``.

    What cannot be rebuilt here is a RemoteError that says its type, text and why. So is what would
    mean something else in the caller: a KeyboardInterrupt, a cancellation.
    """
    name, message, text, pickled = pickle.loads(head)
    exc: BaseException | None = None
    why = pickled if isinstance(pickled, str) else ""
    if isinstance(pickled, bytes):
        try:
            rebuilt = pickle.loads(pickled)
            if isinstance(rebuilt, BaseException):
                exc = rebuilt
            else:
                why = f"it became an object of type {type(rebuilt).__name__}"
        except BaseException as broken:
            why = f"it cannot be rebuilt here: {type(broken).__name__}: {_short_text(broken)}"
    if exc is None:
        exc = RemoteError(f"[{origin}] raised {name}: {message}\n({why})")
    elif isinstance(exc, (KeyboardInterrupt, InputCancellation, SystemExit, GeneratorExit)):
        exc = RemoteError(f"[{origin}] raised {name}: {message}")
    if not isinstance(exc, RankError):  # its cause is what the rank raised
        exc.__cause__ = RemoteTraceback(text)
    return exc


def gather(messages: list[tuple[Any, Any]]) -> tuple[bytes, Buffers]:
    """Returns the message of the list of all values of ``messages``, none of which is rebuilt here."""
    buffers = [pickle.PickleBuffer(buffer) for _, each in messages for buffer in each]
    parts = [(bytes(head), len(each)) for head, each in messages]
    pending = list(buffers)
    head = pickle.dumps(_Gathered(parts, pending), 5, buffer_callback=lambda buffer: False)
    return head, buffers


class _Gathered:
    def __init__(self, parts: list[tuple[bytes, int]], buffers: Buffers) -> None:
        self.parts, self.buffers = parts, buffers

    def __reduce__(self) -> tuple[Any, ...]:
        return _scatter, (self.parts, self.buffers)


def _scatter(parts: list[tuple[bytes, int]], buffers: list[Any]) -> list[Any]:
    values, at = [], 0
    for head, count in parts:
        values.append(pickle.loads(head, buffers=buffers[at : at + count]))
        at += count
    return values


def encode_rank_error(
    origin: str, first: int, size: int, causes: dict[int, bytes], stacks: dict[int, str]
) -> bytes:
    """Returns a RankError as an answer; ``causes`` are exceptions as ``encode_exception`` made them."""
    name, message, _, _ = pickle.loads(causes[first])
    short = name.removeprefix("ionian.exception.")
    lines = [f"[{origin}] rank {first} of {size} failed: {short}: {message}"]
    for rank in sorted(causes.keys() - {first}):
        name, message, _, _ = pickle.loads(causes[rank])
        lines.append(
            f"rank {rank} failed too: {name}: {message.splitlines()[0] if message else ''}"
        )
    for rank in sorted(stacks):
        lines.append(f"rank {rank} was ended; it was at:\n{stacks[rank].rstrip()}")
    text = "\n".join(lines)
    rebuilt = pickle.dumps(_RankErrorParts(origin, first, text, causes, stacks), 5)
    return pickle.dumps(("ionian.exception.RankError", text, text, rebuilt), 5)


class _RankErrorParts:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return _rank_error, self.parts


def _rank_error(
    origin: str, first: int, text: str, causes: dict[int, bytes], stacks: dict[int, str]
) -> RankError:
    error = RankError(text)
    error.rank = first
    error.causes = {
        rank: decode_exception(head, f"{origin} rank {rank}") for rank, head in causes.items()
    }
    error.stacks = stacks
    error.__cause__ = error.causes[first]
    return error
