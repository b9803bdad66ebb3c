"""Which function a worker runs: the one that was decorated, whatever its name leads to."""

from __future__ import annotations

import pickle

import bodies as b
import functions as f
import pytest

import ionian
from ionian import exception


def test_a_wrapped_function_is_the_wrapper_not_what_its_name_leads_to():
    with b.app.run():
        assert b.doubled.remote(3) == 6
        assert b.plainly.remote(3) == 3
        assert b.decorated_twice.remote(3) == 8


def test_functions_of_one_name_defined_in_a_loop_stay_apart():
    with b.app.run():
        assert [function.remote(10) for function in b.in_a_loop] == [10, 11, 12]


def test_closures_made_by_one_function_stay_apart():
    app = ionian.App("closures")

    def make(n):
        return app.function(name=f"times {n}", serialized=True)(lambda x: x * n)

    functions = [make(n) for n in range(3)]
    with app.run():
        assert [function.remote(5) for function in functions] == [0, 5, 10]


def test_what_a_closure_changes_stays_in_its_worker():
    seen = []
    app = ionian.App("closure state")

    @app.function(serialized=True, max_containers=1)
    def remember(x):
        seen.append(x)
        return list(seen)

    with app.run():
        assert remember.remote(1) == [1]
        assert remember.remote(2) == [1, 2]
    assert seen == []


def test_a_closure_over_what_cannot_be_sent_says_so():
    lock = __import__("threading").Lock()
    app = ionian.App("lock")
    function = app.function(serialized=True, name="locked")(lambda: lock)
    with app.run():
        with pytest.raises(exception.SerializationError, match="locked.*by value"):
            function.remote()


def test_a_function_calls_itself_in_runs_of_its_own():
    with b.app.run():
        assert b.factorial.remote(4) == 24


def test_arguments_may_have_any_name():
    named = {"self": 1, "function": 2, "args": 3, "kwargs": 4}
    with b.app.run():
        assert b.takes_any_name.remote(**named) == [1, 2, 3, 4]
        rest = {"function": 2, "args": 3, "kwargs": 4}
        assert list(b.takes_any_name.map([1], kwargs=rest)) == [[1, 2, 3, 4]]


@pytest.mark.parametrize("method", ["spawn", "local"])
def test_arguments_may_have_any_name_in_other_forms(method):
    with b.app.run():
        made = getattr(b.takes_any_name, method)(self=1, function=2, args=3, kwargs=4)
        assert (made.get() if method == "spawn" else made) == [1, 2, 3, 4]


def test_a_replaced_function_still_runs_itself_in_every_run():
    app = ionian.App("replaced")
    first = app.function(name="same", serialized=True)(lambda: "first")
    with pytest.warns(UserWarning, match="replaces"):
        second = app.function(name="same", serialized=True)(lambda: "second")
    outcomes = []
    for _ in range(2):
        with app.run():
            for function in (first, second):
                try:
                    outcomes.append(function.remote())
                except exception.ExecutionError as exc:
                    outcomes.append(str(exc))
    assert outcomes == ["first", "second"] * 2


def test_a_function_keeps_the_name_and_documents_of_its_own():
    app = ionian.App("kept")

    def documented():
        """Says so."""

    documented.name = "something else"
    documented.app = None
    made = app.function()(documented)
    assert made.__doc__ == "Says so." and made.__name__ == "documented"
    assert made.app is app and made.name in app.registered_functions


def test_a_function_can_be_pickled_by_name():
    again = pickle.loads(pickle.dumps(f.echo))
    assert again is f.echo


def test_apps_run_beside_each_other():
    with f.app.run(), b.app.run():
        assert f.echo.remote(1) == 1
        assert b.alone.remote() != f.pid.remote()


def test_a_function_may_be_registered_while_the_app_runs():
    app = ionian.App("late")
    with app.run():
        late = app.function(serialized=True, name="late")(lambda x: x + 1)
        assert late.remote(1) == 2


@pytest.mark.parametrize(
    "value",
    [print, len, int, __import__("functools").partial(print, 1)],
    ids=lambda v: type(v).__name__,
)
def test_callables_without_a_definition_are_refused_or_run(value):
    """Whatever is accepted at decoration can be sent; the rest is refused there."""
    app = ionian.App("callables")
    try:
        made = app.function(name="callable", serialized=True)(value)
    except (exception.InvalidError, TypeError):
        return
    with app.run():
        assert made.remote("12") in (None, 2, 12)
