"""What is said where a function is declared or used wrongly."""

from __future__ import annotations

import functions as f
import pytest

import ionian
from ionian import exception

OPTIONS = [
    ({"gpu": "H100:0"}, exception.GpuRequestError, "H100:0"),
    ({"gpu": "h1OO"}, exception.GpuRequestError, "H100"),
    ({"gpu": 4}, exception.InvalidError, "got 4"),
    ({"gpu": ("A10G",)}, exception.InvalidError, "list"),
    ({"gpu": []}, exception.InvalidError, "gpu=None"),
    ({"timeout": None}, exception.InvalidError, "timeout="),
    ({"timeout": 0}, exception.InvalidError, "timeout="),
    ({"timeout": float("nan")}, exception.InvalidError, "timeout="),
    ({"max_containers": 0}, exception.InvalidError, "max_containers"),
    ({"max_containers": 1, "min_containers": 2}, exception.InvalidError, "more than"),
    ({"min_containers": True}, exception.InvalidError, "min_containers"),
    ({"buffer_containers": -1}, exception.InvalidError, "buffer_containers"),
    ({"scaledown_window": 0}, exception.InvalidError, "scaledown_window"),
    ({"env": ["A=b"]}, exception.InvalidError, "env="),
    ({"env": {"A": 1}}, exception.InvalidError, "env="),
    ({"serialized": 1}, exception.InvalidError, "serialized"),
    ({"name": 3}, exception.InvalidError, "name="),
    ({"gpus": "A10G"}, exception.InvalidError, "did you mean gpu="),
    ({"retries": -1}, exception.InvalidError, "max_retries="),
    ({"retries": True}, exception.InvalidError, "retries="),
    ({"retries": 1.5}, exception.InvalidError, "ionian.Retries"),
    ({"retries": "3"}, exception.InvalidError, "ionian.Retries"),
    ({"startup_timeout": 0}, exception.InvalidError, "startup_timeout="),
    ({"single_use_containers": 1}, exception.InvalidError, "single_use_containers="),
    ({"retires": 3}, exception.InvalidError, "did you mean retries="),
]


@pytest.mark.parametrize(("options", "kind", "text"), OPTIONS, ids=[str(row[0]) for row in OPTIONS])
def test_a_bad_option_is_refused_at_decoration(options, kind, text):
    with pytest.raises(kind) as raised:
        ionian.App("x").function(**options)
    assert text in str(raised.value)
    assert len(str(raised.value).splitlines()[0]) < 200


def test_forgotten_parentheses_say_what_to_write():
    app = ionian.App("x")
    with pytest.raises(exception.InvalidError, match=r"@app.function\(\)"):
        app.function(lambda: 1)
    with pytest.raises(exception.InvalidError, match=r"@app.local_entrypoint\(\)"):
        app.local_entrypoint(lambda: 1)


def test_what_cannot_be_a_function_is_refused():
    app = ionian.App("x")
    with pytest.raises(TypeError, match="class"):

        @app.function()
        class Model:
            pass

    with pytest.raises(exception.InvalidError, match="generator"):

        @app.function()
        def numbers():
            yield 1

    with pytest.raises(exception.InvalidError, match="method"):

        class Holder:
            @app.function()
            def method(self):
                pass

    with pytest.raises(exception.InvalidError, match="expected a function"):
        app.function()(5)


@pytest.mark.parametrize("method", ["remote", "spawn"])
def test_a_call_outside_a_run_says_what_to_write(method):
    with pytest.raises(exception.ExecutionError, match=r"with app.run\(\):"):
        getattr(f.echo, method)(1)


def test_a_map_outside_a_run_says_what_to_write():
    with pytest.raises(exception.ExecutionError, match=r"with app.run\(\):"):
        list(f.echo.map([1]))


def test_calling_the_function_says_what_to_write():
    with pytest.raises(exception.InvalidError, match=r"echo.remote\(...\)"):
        f.echo(1)


def test_a_second_run_of_an_app_at_once_is_refused():
    with f.app.run():
        with pytest.raises(exception.ExecutionError, match="open already"):
            with f.app.run():
                pass
        assert f.echo.remote(1) == 1


def test_app_names_are_texts():
    with pytest.raises(exception.InvalidError, match="`name`"):
        ionian.App(5)


def test_a_second_entry_point_of_one_name_is_refused():
    app = ionian.App("x")
    app.local_entrypoint(name="main")(lambda: 1)
    with pytest.raises(exception.InvalidError, match="already"):
        app.local_entrypoint(name="main")(lambda: 2)


def test_an_entry_point_can_be_called():
    app = ionian.App("x")
    assert app.local_entrypoint()(lambda: 7)() == 7


def test_names_of_the_service_that_mean_nothing_here_are_accepted_with_a_warning():
    with pytest.warns(UserWarning, match="no container here"):
        ionian.App("x").function(image="debian", cpu=2)
    with pytest.warns(DeprecationWarning, match="max_containers="):
        made = ionian.App("x").function(concurrency_limit=3)(lambda: 1)
    assert made.options.max_containers == 3


def test_gpu_false_is_no_gpu():
    assert ionian.App("x").function(gpu=False)(lambda: 1).options.gpu is None


@pytest.mark.parametrize("simulate", ["", "A10G:0", "B9000:1", "A10G;2"])
def test_a_bad_simulation_is_refused(simulate):
    with pytest.raises(exception.Error):
        with f.app.run(simulate=simulate or "nonsense:1"):
            f.on_gpu.remote()


def test_a_bad_gpu_match_is_refused_at_once():
    with pytest.raises(exception.InvalidError, match="upgrade"):
        with f.app.run(gpu_match="sometimes"):
            pass
    assert f.app._session is None
