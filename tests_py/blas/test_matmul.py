"""matmul on the host, and what it refuses; the same table of cases as on the GPU."""

from __future__ import annotations

import os
import sys

import numpy
import pytest

import ionian
from ionian import exception

sys.path.insert(0, os.path.dirname(__file__))

from cases import SHAPES, TOLERANCE

matmul = ionian.blas.matmul


def made(shape, dtype, by_columns, seed):
    """Returns a random array; by columns: its last two dimensions lie the other way round."""
    rng = numpy.random.default_rng(seed)
    if dtype == "int8":
        values = rng.integers(-8, 8, shape).astype(dtype)
    else:
        values = rng.standard_normal(shape).astype(dtype)
    if by_columns and len(shape) > 1:
        values = numpy.swapaxes(numpy.ascontiguousarray(numpy.swapaxes(values, -1, -2)), -1, -2)
    return values


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8"])
@pytest.mark.parametrize("layout", ["rr", "rc", "cr", "cc"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_what_float64_says(shape, layout, dtype):
    batch, m, n, k = shape
    a = made((*batch, m, k), dtype, layout[0] == "c", 1)
    b = made((*batch, k, n), dtype, layout[1] == "c", 2)
    expected = a.astype("float64") @ b.astype("float64")
    got = matmul(a, b)
    assert got.dtype == ("int32" if dtype == "int8" else dtype)
    scale = max(1.0, float(numpy.sqrt(k)))
    assert numpy.abs(got - expected).max() <= TOLERANCE[dtype] * scale * 4


BROADCASTS = [
    ((2, 3, 4), (4, 5)),
    ((4, 5), (3, 5, 2)),
    ((6, 1, 3, 4), (5, 4, 2)),
    ((2, 3, 3, 4), (2, 1, 4, 2)),
    ((4,), (4,)),
    ((4,), (3, 4, 2)),
    ((3, 2, 4), (4,)),
]


@pytest.mark.parametrize(("a", "b"), BROADCASTS, ids=str)
def test_batches_and_vectors_are_as_in_numpy(a, b):
    x, y = made(a, "float64", False, 1), made(b, "float64", False, 2)
    expected = x @ y
    got = matmul(x, y)
    assert got.shape == expected.shape
    assert numpy.allclose(got, expected)


def test_alpha_beta_c_bias_and_activation_come_in_that_order():
    a, b = made((7, 5), "float64", False, 1), made((5, 6), "float64", False, 2)
    c, bias = made((7, 6), "float64", False, 3), made((6,), "float64", False, 4)
    got = matmul(a, b, alpha=2.0, beta=3.0, c=c, bias=bias, activation="relu")
    assert numpy.allclose(got, numpy.maximum(2 * (a @ b) + 3 * c + bias, 0))
    x = a @ b
    gelu = 0.5 * x * (1 + numpy.tanh(numpy.sqrt(2 / numpy.pi) * (x + 0.044715 * x**3)))
    assert numpy.allclose(matmul(a, b, activation="gelu"), gelu)
    assert numpy.allclose(matmul(a, b, activation="silu"), x / (1 + numpy.exp(-x)))


def test_out_is_written_and_returned_also_by_columns_and_as_c():
    a, b = made((7, 5), "float64", False, 1), made((5, 6), "float64", True, 2)
    out = numpy.zeros((6, 7)).T
    assert matmul(a, b, out=out) is out
    assert numpy.allclose(out, a @ b)
    matmul(a, b, out=out, c=out, beta=1.0)
    assert numpy.allclose(out, 2 * (a @ b))


def test_scales_multiply_and_transposes_are_flags_too():
    a, b = made((5, 7), "float32", False, 1), made((6, 5), "float32", False, 2)
    scale_a, scale_b = numpy.full(1, 2, "float32"), numpy.full((), 0.5, "float32")
    got = matmul(a, b, transpose_a=True, transpose_b=True, scale_a=scale_a, scale_b=scale_b)
    assert numpy.allclose(got, a.T @ b.T, atol=1e-5)


def test_tf32_rounds_to_ten_bits():
    a = numpy.array([[1 + 2.0**-12]], "float32")
    one = numpy.ones((1, 1), "float32")
    assert matmul(a, one)[0, 0] == a[0, 0]
    assert matmul(a, one, precision="tf32")[0, 0] == 1


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_nothing_times_nothing_is_nothing(m, n, k):
    got = matmul(numpy.ones((m, k)), numpy.ones((k, n)))
    assert got.shape == (m, n) and not got.any()


ONES = numpy.ones((3, 4))
REFUSED = {
    "columns of a and rows of b differ": (lambda: matmul(ONES, ONES), "as many columns of a"),
    "types differ": (lambda: matmul(ONES, ONES.T.astype("float32")), "b is float32"),
    "a type without a product": (lambda: matmul(*[ONES.astype("uint8")] * 2), "uint8"),
    "an out of the wrong shape": (
        lambda: matmul(ONES, ONES.T, out=numpy.ones((2, 2))),
        "(…, 3, 3)",
    ),
    "an out of the wrong type": (
        lambda: matmul(ONES, ONES.T, out=numpy.ones((3, 3), "int32")),
        "expected float64",
    ),
    "batches that do not fit": (
        lambda: matmul(numpy.ones((2, 3, 4)), numpy.ones((3, 4, 2))),
        "equal, or 1",
    ),
    "gaps both ways": (
        lambda: matmul(numpy.ones((6, 8))[::2, ::2], numpy.ones((4, 2))),
        "a stride of 1",
    ),
    "a bias of the wrong length": (lambda: matmul(ONES, ONES.T, bias=numpy.ones(4)), "(3,)"),
    "beta without c": (lambda: matmul(ONES, ONES.T, beta=1.0), "without c"),
    "an activation that there is not": (
        lambda: matmul(ONES, ONES.T, activation="tanh"),
        "'gelu' (of tanh) or 'silu'",
    ),
    "a precision that there is not": (lambda: matmul(ONES, ONES.T, precision="fp4"), "'tf32'"),
    "an out_dtype that cannot be": (
        lambda: matmul(ONES, ONES.T, out_dtype="float16"),
        "expected float64",
    ),
    "an out_dtype that is none": (lambda: matmul(ONES, ONES.T, out_dtype="half"), "out_dtype"),
    "no array": (lambda: matmul(ONES, 3), "expected an array"),
    "a number": (lambda: matmul(ONES, numpy.float64(3)), "at least one dimension"),
    "a read-only out": (lambda: matmul(ONES, ONES.T, out=_read_only()), "read-only"),
    "a scale of the wrong type": (lambda: matmul(ONES, ONES.T, scale_a=ONES), "one float32"),
}


def _read_only():
    array = numpy.ones((3, 3))
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("how", REFUSED)
def test_what_does_not_fit_is_refused_with_what_would(how):
    call, text = REFUSED[how]
    with pytest.raises(exception.InvalidError) as raised:
        call()
    assert text in str(raised.value)
    assert len(str(raised.value).splitlines()[0]) < 400
