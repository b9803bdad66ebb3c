"""The names that the package has, and the numbers that its options take."""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys

import pytest

import ionian
from ionian import exception

NAMES = (
    "App Error Function FunctionCall Retries blas comm communicator enable_output exception gpu "
    "inventory is_local lease local_rank rank spmd world_size"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_listed(name):
    assert getattr(ionian, name) is not None
    assert name in ionian.__all__ and name in dir(ionian)


def test_nothing_else_is_promised():
    assert sorted(ionian.__all__) == sorted(NAMES)
    assert ionian.Error is exception.Error
    with pytest.raises(AttributeError, match="no_such_name"):
        ionian.no_such_name  # noqa: B018


def test_the_package_has_types_and_a_version():
    assert pathlib.Path(ionian.__file__).with_name("py.typed").exists()
    assert ionian.__version__.count(".") == 2


def test_a_script_of_the_service_runs_with_the_name_changed(world):
    script = """
import ionian as modal
app = modal.App("rhymes")

@app.function(gpu=modal.gpu.A10G(), timeout=60, cpu=1.0)
def square(x):
    assert not modal.is_local()
    return x * x

if __name__ == "__main__":
    assert modal.is_local()
    with modal.enable_output(), app.run(simulate="A10G:1"):
        print(square.remote(3), list(square.map(range(3))), modal.FunctionCall.gather(square.spawn(4)))
"""
    (world / "s.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, "s.py"], cwd=world, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "9 [0, 1, 4] [16]\n", ended.stderr


TOO_LARGE = [
    {"max_containers": 2**70},
    {"min_containers": 2**70},
    {"buffer_containers": 2**70},
    {"timeout": 10**400},
    {"scaledown_window": 10**400},
]


@pytest.mark.parametrize("options", TOO_LARGE, ids=lambda options: next(iter(options)))
def test_numbers_that_mean_nothing_are_refused_at_decoration(options):
    with pytest.raises(exception.InvalidError) as raised:
        ionian.App("x").function(**options)
    assert next(iter(options)) in str(raised.value)
    assert len(str(raised.value).splitlines()[0]) < 200


@pytest.mark.parametrize(
    "options", [{"timeout": 1e300}, {"scaledown_window": 1e300}, {"max_containers": 10**6}]
)
def test_numbers_larger_than_any_need_work(options):
    app = ionian.App("large numbers")
    function = app.function(serialized=True, name="one", **options)(lambda: 1)
    with app.run():
        assert function.remote() == 1


@pytest.mark.parametrize("where", ["app", "function"])
def test_names_may_have_any_character(where):
    app = ionian.App("\ud800" if where == "app" else "names")
    function = app.function(serialized=True, name="\ud800" if where == "function" else "f")(
        lambda: 1
    )
    with app.run():
        assert function.remote() == 1


@pytest.mark.parametrize("name", ["", "a b", "grün", "a\nb", "x" * 5000, "%s%n", "f::g", "a/b"])
def test_odd_names_work(name):
    app = ionian.App(name)
    function = app.function(serialized=True, name=name)(lambda: 1)
    with app.run():
        assert function.remote() == 1
        with pytest.raises(exception.UnsatisfiableError):
            app.function(serialized=True, name=f"{name} on gpu", gpu="H100:8")(lambda: 1).remote()


def test_apps_and_functions_can_be_looked_at():
    app = ionian.App("looked at")
    function = app.function(gpu="A10G", name="f")(lambda x: x)
    assert repr(app) == "App('looked at')"
    assert "f" in repr(function) and "A10G" in repr(function)
    assert app.registered_functions == {"f": function}
    assert app.registered_entrypoints == {}
    assert inspect.signature(function.raw).parameters.keys() == {"x"}


@pytest.mark.parametrize("method", ["remote", "spawn", "map", "starmap", "for_each"])
def test_every_method_that_waits_has_a_form_for_coroutines(method):
    function = ionian.App("forms").function(name="f")(lambda x: x)
    assert callable(getattr(function, method).aio)


WRONG = {
    "called": lambda f: f(1),
    "map": lambda f: list(f.map([1])),
    "for_each": lambda f: f.for_each([1]),
    "remote": lambda f: f.remote(1),
    "spawn": lambda f: f.spawn(1),
    "gather of a list": lambda f: ionian.FunctionCall.gather([]),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_use_is_an_error_of_ours_whose_first_line_is_short(use):
    function = ionian.App("wrong").function(name="f", serialized=True)(lambda x: x)
    with pytest.raises(exception.Error) as raised:
        WRONG[use](function)
    assert len(str(raised.value).splitlines()[0]) < 200
