"""What ``gpu=`` accepts and rejects, as Python passes it."""

from __future__ import annotations

import enum
import warnings
from typing import Any, NoReturn

import pytest

from ionian import _core, gpu
from ionian.exception import GpuRequestError, InvalidError

UUID = "01234567-89ab-cdef-0123-456789abcdef"

VALID = {
    "H100": "H100",
    "h100": "H100",
    "H100:1": "H100",
    "H100:8": "H100:8",
    "A100-80GB:2": "A100-80GB:2",
    "any": "any",
    "any:4": "any:4",
    "RTX4090:2": "RTX4090:2",
    "L40S": "L40S",
    "GB200:4": "GB200:4",
    "a10": "A10G",
    "40GB": "40GB",
    "H100!:1": "H100!",
    "b200+": "B200+",
    f"GPU-{UUID}": f"GPU-{UUID}",
    f"MIG-{UUID.upper()}": f"MIG-{UUID}",
}

REJECTED = {
    "": "any",
    " ": "any",
    ":": "any",
    ":2": "any:2",
    "H100:": "H100",
    "H100:0": "H100",
    "H100:-1": "H100",
    "H100:+1": "H100",
    "H100: 2": "H100:2",
    "H100 :2": "H100:2",
    "H100:2 ": "H100:2",
    "H100:2:2": "H100:2",
    "H100::2": "H100:2",
    "H100:02": "H100:2",
    "H100:2_0": "H100:20",
    "H100:1e3": "H100",
    "H100:0x2": "H100",
    "H100:2.0": "H100:2",
    "H100:１": "H100",
    "H100:٣": "H100:3",  # Arabic three
    "H100:99999999999999999999": "H100",
    "H100:2147483648": "H100",
    "H100:\0 2": "H100:2",
    "H100\n": "H100",
    "Ｈ100": "H100",
    "h1OO": "H100",
    "H1000": "H100",
    "A100-80": "A100-80GB",
    "V 100": "V100",
    "../H100": "H100",
    "%s%n": "",
    "H100;rm": "H100",
    "H100,A100": '["H100", "A100"]',
    "4": "any:4",
    "GPU-": "",
    "GPU-zz": "",
    "MIG-": "",
    "x" * 4096: "",
    "x" * (10 << 20): "",
    "\ud800": "",
    "H100:\udfff2": "H100",
}


@pytest.mark.parametrize(("text", "canonical"), VALID.items())
def test_a_valid_text_is_read(text: str, canonical: str) -> None:
    request = gpu.parse_gpu(text)
    assert request is not None
    assert str(request) == canonical
    assert request == gpu.parse_gpu(canonical)


@pytest.mark.parametrize(
    ("text", "suggestion"), REJECTED.items(), ids=lambda text: ascii(text)[:30]
)
def test_an_invalid_text_is_rejected_with_position_and_suggestion(
    text: str, suggestion: str
) -> None:
    with pytest.raises(GpuRequestError) as caught:
        gpu.parse_gpu(text)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.suggestion == suggestion
    assert 0 <= error.position <= len(text.encode("utf-8", "backslashreplace"))
    line = str(error).split("\n")[0]
    assert len(line) < 200
    assert line.startswith("[gpu=")
    assert line.isascii()
    assert line.isprintable()
    assert f"at byte {error.position}: expected " in line


@pytest.mark.parametrize("value", [None, False])
def test_none_and_false_ask_for_no_gpu(value: object) -> None:
    assert gpu.parse_gpu(value) is None


class Evil(str):
    """A text that claims to be every text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("H100")

    def encode(self, *args: Any) -> bytes:
        return b"H100"


class Unprintable:
    def __repr__(self) -> NoReturn:
        raise RuntimeError("no")


class Model(str, enum.Enum):
    H100 = "H100"


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        True,
        2.0,
        10**5000,
        b"H100",
        bytearray(b"H100"),
        (),
        ("H100",),
        {"H100"},
        [],
        [None],
        [1],
        [True],
        [["H100"]],
        [("H100",)],
        {"H100": 2},
        object(),
        gpu.H100,
        [gpu.H100],
        Unprintable(),
        [Unprintable()],
        Evil("foo"),
        [Evil("foo")],
        Model.H100,
        ["H100"] * 65,
        ["H100"] * 10_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_an_invalid_error(value: object) -> None:
    with pytest.raises(InvalidError) as caught:
        gpu.parse_gpu(value)
    assert type(caught.value) is InvalidError
    line = str(caught.value).split("\n")[0]
    assert line.startswith("[gpu")
    assert "expected" in line
    assert len(line) < 200


def test_an_empty_text_in_a_list_is_rejected_by_its_place() -> None:
    with pytest.raises(GpuRequestError, match="item 2 of 2"):
        gpu.parse_gpu(["H100", ""])


def test_a_list_keeps_its_order_and_mixes_texts_and_objects() -> None:
    request = gpu.parse_gpu(["h100:2", gpu.A100(size="80GB", count=2), gpu.Any(count=2)])
    assert request is not None
    assert request.texts() == ["H100:2", "A100-80GB:2", "any:2"]
    assert [item.kind for item in request.alternatives] == ["model", "model", "any"]
    assert str(request) == "[H100:2, A100-80GB:2, any:2]"


def test_a_list_of_one_is_that_one() -> None:
    assert gpu.parse_gpu(["a10g"]) == gpu.parse_gpu("A10")


def test_a_list_that_changes_meanwhile_is_read_as_it_was() -> None:
    items: list[object] = ["H100"]

    class Growing(gpu.H100):
        __slots__ = ()

        def __str__(self) -> str:
            items.extend(["nonsense"] * 100)
            return super().__str__()

    items.append(Growing(count=2))
    request = gpu.parse_gpu(items)
    assert request is not None
    assert request.texts() == ["H100", "H100:2"]


def test_an_alternative_listed_twice_is_warned_of_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="listed more than once") as caught:
        gpu.parse_gpu(["H100", "any", "h100:1"])
    assert caught[0].filename == __file__


def test_different_alternatives_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gpu.parse_gpu(["H100", "H100:2", "H100!"])


def test_items_say_what_was_read() -> None:
    item = _core.GpuRequest.parse("b200+:4").alternatives[0]
    assert (item.kind, item.type, item.binding, item.count) == ("model", "B200", "+", 4)
    assert str(item) == "B200+:4"
