"""The object form of ``gpu=``."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from ionian import _core, gpu
from ionian.exception import InvalidError


@pytest.mark.parametrize(
    ("made", "text", "shown"),
    [
        (gpu.T4(), "T4", "GPU(T4, count=1)"),
        (gpu.T4(2), "T4:2", "GPU(T4, count=2)"),
        (gpu.L4(count=8), "L4:8", "GPU(L4, count=8)"),
        (gpu.A10G(count=4), "A10G:4", "GPU(A10G, count=4)"),
        (gpu.A10(), "A10G", "GPU(A10G, count=1)"),
        (gpu.A100(), "A100", "GPU(A100, count=1)"),
        (gpu.A100(size="40GB"), "A100-40GB", "GPU(A100-40GB, count=1)"),
        (gpu.A100(size="80GB", count=4), "A100-80GB:4", "GPU(A100-80GB, count=4)"),
        (gpu.L40S(), "L40S", "GPU(L40S, count=1)"),
        (gpu.H100(count=8), "H100:8", "GPU(H100, count=8)"),
        (gpu.H200(), "H200", "GPU(H200, count=1)"),
        (gpu.B200(), "B200", "GPU(B200, count=1)"),
        (gpu.B300(), "B300", "GPU(B300, count=1)"),
        (gpu.RTX4090(count=2), "RTX4090:2", "GPU(RTX4090, count=2)"),
        (gpu.RTX_PRO_6000(), "RTX-PRO-6000", "GPU(RTX-PRO-6000, count=1)"),
        (gpu.Any(), "any", "GPU(Any, count=1)"),
    ],
    ids=lambda value: repr(value),
)
def test_an_object_means_its_text(made: gpu.GPU, text: str, shown: str) -> None:
    assert str(made) == text
    assert repr(made) == shown
    assert gpu.parse_gpu(made) == gpu.parse_gpu(text)


def test_every_model_of_the_catalog_has_a_class() -> None:
    for model in _core.catalog():
        name = model.type.replace("-", "_")
        assert name in dir(gpu)
        made = gpu.A100(size=model.type[5:]) if "A100_" in name else getattr(gpu, name)()
        assert made.type == model.type
        assert made.count == 1
        assert gpu.parse_gpu(made) == gpu.parse_gpu(model.type)


def test_an_unknown_model_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="H1000"):
        gpu.H1000  # noqa: B018


@pytest.mark.parametrize("size", ["20GB", "80gb", "", 80])
def test_a_bad_size_is_a_value_error_that_says_which_are_good(size: str) -> None:
    with pytest.raises(ValueError, match="is invalid") as caught:
        gpu.A100(size=size)
    assert not isinstance(caught.value, InvalidError)
    assert "40GB" in str(caught.value)
    assert "80GB" in str(caught.value)


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "2", None, -(10**12), -(10**5000)], ids=type)
def test_a_bad_count_is_an_invalid_error(count: int) -> None:
    with pytest.raises(InvalidError, match="count"):
        gpu.H100(count=count)


def test_a_count_that_no_machine_has_is_rejected_as_its_text_would_be() -> None:
    with pytest.raises(InvalidError):
        gpu.parse_gpu(gpu.H100(count=2**31))


def test_objects_are_values() -> None:
    assert gpu.H100(count=2) == gpu.H100(count=2)
    assert gpu.H100() != gpu.H100(count=2)
    assert gpu.H100() != gpu.H200()
    assert gpu.H100() != "H100"
    assert len({gpu.H100(), gpu.H100(), gpu.Any()}) == 2
    for twin in (pickle.loads(pickle.dumps(gpu.L4(3))), copy.deepcopy(gpu.L4(3))):
        assert twin == gpu.L4(3)
        assert repr(twin) == "GPU(L4, count=3)"


@pytest.mark.parametrize("name", ["count", "type", "_count", "other"])
def test_objects_are_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(gpu.H100(), name, 2)
    with pytest.raises(AttributeError):
        delattr(gpu.H100(), name)


def test_the_module_imports_nothing_heavy() -> None:
    heavy = {"dataclasses", "inspect", "typing", "enum", "re", "numpy"}
    code = "import sys; old = set(sys.modules); import ionian.gpu; print(*(set(sys.modules) - old))"
    out = subprocess.run([sys.executable, "-S", "-c", code], check=False, capture_output=True)
    assert not heavy & set(out.stdout.decode().split())
