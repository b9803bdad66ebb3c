"""What ``gpu=`` takes: a text, one of these objects, or a list of either in order of preference.

    gpu="H100:8"
    gpu=ionian.gpu.A100(size="80GB", count=4)
    gpu=["H100", ionian.gpu.L40S(), "any"]

Every model of the catalog is here under its name, with ``_`` for ``-``: ``T4``, ``H100``,
``RTX4090``, ``RTX_PRO_6000``. ``Any`` is any GPU. The objects are values: frozen, equal if they
mean the same.
"""

from __future__ import annotations

from ionian import _core
from ionian.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_MAX_ALTERNATIVES = 64
_SHOWN = 40


class GPU:
    """A number of GPUs of one model. Use a subclass."""

    __slots__ = ("_count", "_type")
    _count: int
    _type: str

    def __init__(self, model: str, count: int) -> None:
        if type(count) is not int or count < 1:
            raise InvalidError(
                f"[gpu {model}] expected count to be a whole number from 1, got {_shown(count)}"
            )
        object.__setattr__(self, "_type", model)
        object.__setattr__(self, "_count", count)

    @property
    def type(self) -> str:
        """The model's name in ``gpu=``, for example ``A100-80GB``."""
        return self._type

    @property
    def count(self) -> int:
        return self._count

    def __str__(self) -> str:
        return self._type if self._count == 1 else f"{self._type}:{self._count}"

    def __repr__(self) -> str:
        return f"GPU({'Any' if self._type == 'any' else self._type}, count={self._count})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GPU):
            return NotImplemented
        return self._type == other._type and self._count == other._count

    def __hash__(self) -> int:
        return hash((self._type, self._count))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: a GPU request is frozen; make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a GPU request is frozen")

    def __reduce__(self) -> tuple[object, ...]:
        return GPU, (self._type, self._count)


class _Model(GPU):
    """The base of the models that have no class of their own below."""

    __slots__ = ()
    _model = ""

    def __init__(self, *, count: int = 1) -> None:
        super().__init__(self._model, count)


class T4(GPU):
    """NVIDIA T4, 16 GB, Turing."""

    __slots__ = ()

    def __init__(self, count: int = 1) -> None:
        super().__init__("T4", count)


class L4(GPU):
    """NVIDIA L4, 24 GB, Ada Lovelace."""

    __slots__ = ()

    def __init__(self, count: int = 1) -> None:
        super().__init__("L4", count)


class A10G(GPU):
    """NVIDIA A10G or A10, 24 GB, Ampere."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("A10G", count)


class L40S(GPU):
    """NVIDIA L40S, 48 GB, Ada Lovelace."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("L40S", count)


class A100(GPU):
    """NVIDIA A100, Ampere. ``size`` is "40GB" or "80GB"; without it either will do."""

    __slots__ = ()

    def __init__(self, *, count: int = 1, size: str | None = None) -> None:
        if size is not None and size not in ("40GB", "80GB"):
            raise ValueError(
                f"size={_shown(size)} is invalid: an A100 has 40GB or 80GB; "
                'write size="40GB", size="80GB" or leave it out'
            )
        super().__init__("A100" if size is None else f"A100-{size}", count)


class H100(GPU):
    """NVIDIA H100, 80 GB, Hopper; an H200 where there is no H100."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("H100", count)


class H200(GPU):
    """NVIDIA H200, 141 GB, Hopper."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("H200", count)


class B200(GPU):
    """NVIDIA B200, 180 GB, Blackwell."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("B200", count)


class B300(GPU):
    """NVIDIA B300, 288 GB, Blackwell Ultra."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("B300", count)


class Any(GPU):
    """Any GPU, the smallest that is free."""

    __slots__ = ()

    def __init__(self, *, count: int = 1) -> None:
        super().__init__("any", count)


A10 = A10G


def _catalog_names() -> dict[str, str]:
    """Returns the type of every model of the catalog by its name as an identifier."""
    return {model.type.replace("-", "_"): model.type for model in _core.catalog()}


def __getattr__(name: str) -> type[_Model]:
    """Makes the class of a model that has none above, the first time it is asked for."""
    model = None if name.startswith("_") else _catalog_names().get(name)
    if model is None:
        raise AttributeError(
            f"module {__name__!r} has no GPU {name!r}; `dir({__name__})` lists the models"
        )
    made = type(name, (_Model,), {"__slots__": (), "__module__": __name__, "_model": model})
    globals()[name] = made
    return made


def __dir__() -> list[str]:
    here = {name for name, value in globals().items() if isinstance(value, type)}
    public = {name for name in here if issubclass(globals()[name], GPU) and name[0] != "_"}
    return sorted(public | set(_catalog_names()) | {"parse_gpu"})


def _shown(value: object) -> str:
    """Returns a short text for ``value`` without running code of its own, which may do anything."""
    small = type(value) is int and abs(value) < 10**12
    if small or value is None or type(value) in (bool, float):
        text = repr(value)
    elif type(value) is str or type(value) is bytes:
        text = repr(value[:_SHOWN])
    else:
        text = f"an object of type {type(value).__name__[:_SHOWN]}"
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _text(value: object, origin: str) -> str:
    """Returns the text of one item. Exact types only: a subclass of str can lie about itself."""
    if type(value) is str:
        # A lone surrogate cannot be UTF-8. Escaped it is still no item, and the error can show it.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, GPU):
        return str(value)
    hint = ""
    if value is True:
        hint = '\nFor any GPU write "any".'
    elif isinstance(value, str):
        hint = "\nIt is a subclass of str: pass a plain one, str(value)."
    elif isinstance(value, (tuple, set, frozenset)) and origin == "[gpu]":
        hint = "\nAlternatives in order of preference are a list: list(value)."
    raise InvalidError(
        f'{origin} expected a text such as "H100:2", an ionian.gpu object, a list of them or None, '
        f"got {_shown(value)}{hint}"
    )


def parse_gpu(value: object, *, stacklevel: int = 2) -> _core.GpuRequest | None:
    """Returns what ``gpu=`` means; None for None and False, which ask for no GPU.

    Raises GpuRequestError for a text that is no request, InvalidError for anything else. Warns of
    alternatives that are listed twice, at the caller's line by ``stacklevel``.
    """
    if value is None or value is False:
        return None
    if type(value) is not list:
        return _core.GpuRequest.parse(_text(value, "[gpu]"))
    items = value[: _MAX_ALTERNATIVES + 1]  # a copy: the list may change under us
    if not items or len(items) > _MAX_ALTERNATIVES:
        many = "none" if not items else f"{len(value)}"
        raise InvalidError(
            f"[gpu] expected a list of 1 to {_MAX_ALTERNATIVES} alternatives, got {many}; "
            "for no GPU write gpu=None"
        )
    request = _core.GpuRequest.parse(
        [_text(item, f"[gpu item {i} of {len(items)}]") for i, item in enumerate(items, 1)]
    )
    _warn_of_duplicates(request.texts(), stacklevel + 1)
    return request


def _warn_of_duplicates(texts: list[str], stacklevel: int) -> None:
    twice = [text for i, text in enumerate(texts) if text in texts[:i]]
    if not twice:
        return
    import warnings

    warnings.warn(
        f"[gpu] {twice[0]!r} is listed more than once; the later one is never reached",
        UserWarning,
        stacklevel=stacklevel,
    )
