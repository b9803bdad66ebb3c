"""Messages and exceptions, without a run."""

from __future__ import annotations

import builtins
import dataclasses
import io
import pickle
import sys
import threading
import traceback

import bodies as b
import functions as f
import pytest

from ionian import exception, serialization


def there_and_back(value):
    head, buffers = serialization.dumps(value, "the value")
    assert isinstance(head, bytes)
    return serialization.loads(
        head, [bytes(buffer.raw()) for buffer in buffers] if buffers else None
    )


class Unsendable:
    def __reduce__(self):
        raise RuntimeError("not me")


@dataclasses.dataclass
class Holder:
    handle: object


UNSENDABLE = {
    "itself": (Unsendable(), "the value"),
    "item": ([0, Unsendable()], "the value[1]"),
    "key": ({"model": Unsendable()}, "the value['model']"),
    "attribute": (Holder(Unsendable()), "the value.handle"),
    "path": ({"model": [Holder((1, Unsendable()))]}, "the value['model'][0].handle[1]"),
    "lock": ({"state": threading.Lock()}, "the value['state']"),
    "generator": ([(i for i in ())], "the value[0]"),
    "open file": (Holder(io.StringIO), None),
}


@pytest.mark.parametrize("name", UNSENDABLE)
def test_the_path_to_what_cannot_be_sent_is_named(name):
    value, path = UNSENDABLE[name]
    if path is None:
        there_and_back(value)
        return
    with pytest.raises(exception.SerializationError) as raised:
        serialization.dumps(value, "the value")
    assert str(raised.value).startswith(f"{path} cannot be sent: ")
    assert len(str(raised.value).splitlines()[0]) < 200


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((Unsendable(),), {}, "argument 1 "),
        ((1, [Unsendable()]), {}, "argument 2[0] "),
        ((), {"model": Unsendable()}, "argument model= "),
        ((1,), {"model": {"a": Unsendable()}}, "argument model=['a'] "),
    ],
)
def test_the_argument_that_cannot_be_sent_is_named(args, kwargs, path):
    with pytest.raises(exception.SerializationError) as raised:
        serialization.dumps_call(args, kwargs)
    assert str(raised.value).startswith(path)


@pytest.mark.parametrize("depth", [1_000, 200_000])
def test_deeply_nested_values_go_or_are_refused(depth):
    value = []
    for _ in range(depth):
        value = [value]
    try:
        serialization.dumps(value, "the value")
    except exception.SerializationError as exc:
        assert "recursion" in str(exc)
    while value:
        value = value[0]  # freeing it recursively would overflow the stack


def test_a_value_that_contains_itself_comes_back_so():
    value = []
    value.append(value)
    back = there_and_back(value)
    assert back[0] is back
    value.append(threading.Lock())
    with pytest.raises(exception.SerializationError, match="the value"):
        serialization.dumps(value, "the value")


def test_local_classes_and_lambdas_go_by_value():
    class Local:
        x = 5

    assert there_and_back(Local()).x == 5
    assert there_and_back({"f": lambda x: x + 1})["f"](1) == 2


def test_large_buffers_go_out_of_band_and_small_ones_do_not():
    numpy = pytest.importorskip("numpy")
    head, buffers = serialization.dumps([numpy.zeros(4), numpy.zeros(100_000)], "the value")
    assert [memoryview(buffer).nbytes for buffer in buffers] == [800_000]
    assert len(head) < 2000
    assert serialization.dumps(numpy.zeros(4), "the value")[1] is None


def test_buffers_that_are_not_contiguous_are_copied():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(400_000).reshape(4, 100_000)[:, ::2]
    assert (there_and_back(array) == array).all()
    fortran = numpy.asfortranarray(array)
    assert (there_and_back(fortran) == fortran).all()


@pytest.mark.parametrize(
    "args",
    [("\ud800",), (1.5, None, True, b"x", "y", 2**80), ((1, 2),), ()],
    ids=lambda a: ascii(a)[:20],
)
def test_arguments_come_back_as_they_went(args):
    head, buffers = serialization.dumps_call(args, {})
    assert serialization.loads(head, buffers) == (args, {})
    head, buffers = serialization.dumps_call((), {"k": args})
    assert serialization.loads(head, buffers) == ((), {"k": args})


# ---- exceptions ------------------------------------------------------------------------------------


def answer(exc: BaseException) -> BaseException:
    """Returns ``exc`` as the caller sees it after the function raised it."""
    try:
        raise exc
    except BaseException as raised:
        return serialization.decode_exception(serialization.encode_exception(raised), "f")


SAME = {
    "builtin": ValueError("a", 1),
    "own attributes": OSError(2, "No such file", "/x"),
    "keyword": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "base": b.OwnBase("own", 1),
    "ours": exception.WorkerDiedError("died"),
    "stop iteration": StopIteration(3),
}


if sys.version_info >= (3, 11):
    SAME["group"] = builtins.ExceptionGroup("two", [ValueError(1), KeyError(2)])


@pytest.mark.parametrize("name", SAME)
def test_an_exception_arrives_as_itself(name):
    sent = SAME[name]
    back = answer(sent)
    assert type(back) is type(sent)
    assert repr(back) == repr(sent)
    assert isinstance(back.__cause__, exception.RemoteTraceback)
    assert "in answer" in str(back.__cause__)


def test_notes_and_attributes_of_an_exception_arrive():
    sent = exception.GpuRequestError("bad")
    sent.text, sent.position, sent.suggestion = "h1OO", 1, "H100"
    if hasattr(sent, "add_note"):
        sent.add_note("look here")
    back = answer(sent)
    assert (back.text, back.position, back.suggestion) == ("h1OO", 1, "H100")
    assert getattr(back, "__notes__", None) == getattr(sent, "__notes__", None)


@pytest.mark.parametrize(
    "sent",
    [KeyboardInterrupt("k"), SystemExit(3), GeneratorExit(), exception.InputCancellation("c")],
    ids=lambda exc: type(exc).__name__,
)
def test_what_would_mean_something_else_in_the_caller_is_a_remote_error(sent):
    back = answer(sent)
    assert type(back) is exception.RemoteError
    assert type(sent).__name__ in str(back)


class Unbuildable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a}{b}")


class BecomesText(Exception):
    def __reduce__(self):
        return str, ("no exception",)


class KillsItsReader(Exception):
    def __reduce__(self):
        return exec, ("raise SystemExit(9)",)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (Unbuildable(1, 2), "Unbuildable: 12"),
        (f.ReduceRaises("odd"), "ReduceRaises: odd"),
        (BecomesText("t"), "BecomesText: t"),
        (KillsItsReader("k"), "KillsItsReader: k"),
        (ValueError("x" * 5_000_000), "ValueError: xxx"),
    ],
    ids=[
        "cannot be rebuilt",
        "cannot be pickled",
        "becomes something else",
        "raises SystemExit",
        "huge",
    ],
)
def test_an_exception_that_cannot_be_rebuilt_is_a_remote_error_with_its_text(sent, text):
    back = answer(sent)
    assert type(back) is exception.RemoteError
    assert text in str(back)
    assert len(str(back)) < 80_000
    assert type(sent).__name__ in str(back.__cause__)


@pytest.mark.parametrize(
    "sent",
    [
        f.TextRaises(),
        b.EvilText(),
    ],
    ids=["Exception", "BaseException"],
)
def test_an_exception_whose_text_cannot_be_had_is_an_answer(sent):
    assert type(sent).__name__ in str(answer(sent).__cause__) + str(type(answer(sent)))


def test_cycles_and_long_chains_end():
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__context__ = second, first
    assert str(answer(first)) == "first"
    deep = ValueError(0)
    for i in range(3000):
        outer = ValueError(i)
        outer.__context__ = deep
        deep = outer
    text = str(answer(deep).__cause__)
    assert len(text) < 300 << 10
    assert "2999" in text[-2000:], "the end of the traceback names the exception itself"


def test_the_shown_traceback_has_both_sides():
    try:
        raise answer(KeyError("k"))
    except KeyError:
        shown = traceback.format_exc()
    assert (
        shown.index("in answer") < shown.index("direct cause") < shown.index("KeyError: 'k'", 400)
    )


def test_every_exception_is_an_error_of_ours_or_says_why_not():
    outside = {"InputCancellation", "RemoteTraceback", "Error"}
    for name, kind in vars(exception).items():
        if isinstance(kind, type) and issubclass(kind, BaseException) and name not in outside:
            assert issubclass(kind, exception.Error), name
    assert not issubclass(exception.InputCancellation, Exception)
    assert not issubclass(exception.TimeoutError, TimeoutError)
    assert issubclass(exception.GpuRequestError, ValueError)


TREE = [
    ("GpuRequestError", "InvalidError"),
    ("UnsatisfiableError", "InvalidError"),
    ("LeaseDeadlockError", "ExecutionError"),
    ("FunctionTimeoutError", "TimeoutError"),
    ("LeaseTimeoutError", "TimeoutError"),
    ("WorkerDiedError", "RemoteError"),
    ("WorkerOutOfMemoryError", "WorkerDiedError"),
    ("WorkerStartError", "WorkerDiedError"),
    ("CrashLoopError", "WorkerDiedError"),
    ("GpuUnhealthyError", "RemoteError"),
    ("RankError", "RemoteError"),
]


@pytest.mark.parametrize(("name", "base"), TREE)
def test_the_tree_of_exceptions(name, base):
    assert issubclass(getattr(exception, name), getattr(exception, base))


def test_pickled_errors_do_not_share_their_lists():
    one, two = exception.WorkerDiedError("a"), exception.WorkerDiedError("b")
    one.gpus = ["A10G GPU-x"]
    assert two.gpus == []
    assert pickle.loads(pickle.dumps(one)).gpus == one.gpus
