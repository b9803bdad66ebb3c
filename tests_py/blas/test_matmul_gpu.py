"""matmul on a real GPU, against float64: every type, every way that operands can lie."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import ionian
from ionian import exception

sys.path.insert(0, os.path.dirname(__file__))

from cases import ALIGNED, LARGE, SHAPES, TOLERANCE

pytestmark = [pytest.mark.gpu, pytest.mark.cuda_here]
torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache"


def made(shape, dtype, by_columns, seed):
    generator = torch.Generator(device="cuda").manual_seed(seed)
    if dtype == torch.int8:
        values = torch.randint(-8, 8, shape, device="cuda", dtype=dtype, generator=generator)
    elif dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        values = torch.randn(shape, device="cuda", generator=generator).to(dtype)
    else:
        values = torch.randn(shape, device="cuda", dtype=dtype, generator=generator)
    if by_columns:
        values = values.transpose(-1, -2).contiguous().transpose(-1, -2)
    return values


def reference(a, b):
    return a.to(torch.float64) @ b.to(torch.float64)


worst: dict[str, float] = {}


def compare(name, got, expected, k):
    error = float((got.to(torch.float64) - expected).abs().max()) if got.numel() else 0.0
    scale = max(1.0, k**0.5)
    worst[name] = max(worst.get(name, 0.0), error / scale)
    assert error <= TOLERANCE[name] * scale * 4


@pytest.fixture(scope="module", autouse=True)
def report():
    torch.zeros(1, device="cuda")  # the driver's own descriptors come with the first use
    yield
    for name, error in sorted(worst.items()):
        print(f"worst error of {name}, over √k: {error:.3g}")


@pytest.mark.parametrize("dtype", ["float64", "float32", "tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["rr", "rc", "cr", "cc"])
@pytest.mark.parametrize("shape", SHAPES + LARGE, ids=str)
def test_it_is_what_float64_says(shape, layout, dtype):
    batch, m, n, k = shape
    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    a = made((*batch, m, k), kind, layout[0] == "c", 1)
    b = made((*batch, k, n), kind, layout[1] == "c", 2)
    got = ionian.blas.matmul(a, b, precision="tf32" if dtype == "tf32" else None)
    assert got.dtype == kind and got.shape == (*batch, m, n)
    compare(dtype, got, reference(a, b), k)


@pytest.mark.parametrize("shape", ALIGNED, ids=str)
def test_int8_is_exact(shape):
    batch, m, n, k = shape
    a = made((*batch, m, k), torch.int8, False, 1)
    b = made((*batch, k, n), torch.int8, True, 2)
    got = ionian.blas.matmul(a, b)
    assert got.dtype == torch.int32
    compare("int8", got, reference(a, b), k)


FLOAT8 = [
    ("float8_e4m3fn", "float8_e4m3fn"),
    ("float8_e4m3fn", "float8_e5m2"),
    ("float8_e5m2", "float8_e4m3fn"),
]


@pytest.mark.parametrize("out", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("pair", FLOAT8, ids=str)
@pytest.mark.parametrize("shape", ALIGNED, ids=str)
def test_float8_with_scales(shape, pair, out):
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("float8 needs a GPU of compute capability 8.9")
    batch, m, n, k = shape
    a = made((*batch, m, k), getattr(torch, pair[0]), False, 1)
    b = made((*batch, k, n), getattr(torch, pair[1]), True, 2)
    scale_a = torch.tensor(0.5, device="cuda")
    scale_b = torch.tensor([4.0], device="cuda")
    got = ionian.blas.matmul(a, b, scale_a=scale_a, scale_b=scale_b, out_dtype=out)
    assert got.dtype == getattr(torch, out)
    expected = 2 * reference(a, b)
    error = float((got.to(torch.float64) - expected).abs().max())
    # Hopper's tensor cores keep some 14 bits of a sum of float8 products, whatever it is written as.
    limit = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2**-10}[out]
    assert error <= limit * float(expected.abs().max()) + 1e-3 * k**0.5


def test_float8_that_lies_wrongly_says_how_it_should():
    a = made((64, 64), torch.float8_e4m3fn, False, 1)
    with pytest.raises(exception.InvalidError, match="b by columns"):
        ionian.blas.matmul(a, made((64, 64), torch.float8_e4m3fn, False, 2))


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_epilogues(dtype, with_bias, activation):
    kind = getattr(torch, dtype)
    a, b = made((48, 64), kind, False, 1), made((64, 80), kind, False, 2)
    c, bias = made((48, 80), kind, False, 3), made((80,), kind, False, 4)
    got = ionian.blas.matmul(
        a, b, alpha=0.5, beta=2.0, c=c, bias=bias if with_bias else None, activation=activation
    )
    x = (
        0.5 * reference(a, b)
        + 2 * c.to(torch.float64)
        + (bias.to(torch.float64) if with_bias else 0)
    )
    if activation == "relu":
        x = x.relu()
    if activation == "gelu":
        x = torch.nn.functional.gelu(x, approximate="tanh")
    if activation == "silu":
        x = torch.nn.functional.silu(x)
    assert torch.allclose(got.to(torch.float64), x, atol=4 * TOLERANCE[dtype] * 8, rtol=1e-2)


def test_batches_are_broadcast_and_out_can_have_gaps():
    a, b = made((6, 1, 24, 32), torch.float32, False, 1), made((5, 32, 16), torch.float32, False, 2)
    compare("float32", ionian.blas.matmul(a, b), reference(a, b), 32)
    wide = torch.zeros((6, 5, 24, 40), device="cuda")
    out = wide[..., 8:24]
    assert ionian.blas.matmul(a, b, out=out) is out
    compare("float32", out, reference(a, b), 32)
    assert not wide[..., :8].any() and not wide[..., 24:].any()
    by_columns = torch.zeros((16, 24), device="cuda").T
    compare(
        "float32", ionian.blas.matmul(a[0, 0], b[0], out=by_columns), reference(a[0, 0], b[0]), 32
    )


def test_a_product_over_nothing_is_zero():
    got = ionian.blas.matmul(torch.ones((3, 0), device="cuda"), torch.ones((0, 4), device="cuda"))
    assert got.shape == (3, 4) and not got.any()


def test_it_is_in_order_with_the_callers_stream():
    side = torch.cuda.Stream()
    b = torch.eye(2048, device="cuda")
    torch.cuda.synchronize()
    for i in range(20):
        with torch.cuda.stream(side):
            x = torch.zeros((2048, 2048), device="cuda")
            for _ in range(10):
                x = x + 1
            got = ionian.blas.matmul(x, b)
            total = float(got.sum())
        assert total == 10 * 2048 * 2048, i


def test_a_warm_call_allocates_nothing_and_can_be_recorded():
    a, b = made((512, 512), torch.bfloat16, False, 1), made((512, 512), torch.bfloat16, False, 2)
    out = torch.empty((512, 512), device="cuda", dtype=torch.bfloat16)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(30):
            ionian.blas.matmul(a, b, out=out)
        ionian.blas.finish_tuning()
        torch.cuda.synchronize()
        free = torch.cuda.mem_get_info()[0]
        for _ in range(100):
            ionian.blas.matmul(a, b, out=out)
        torch.cuda.synchronize()
        assert torch.cuda.mem_get_info()[0] == free
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        ionian.blas.matmul(a, b, out=out)
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    compare("bfloat16", out, reference(a, b), 512)


def test_calls_from_many_threads_are_right():
    b = torch.eye(256, device="cuda")
    wrong = []

    def work(value):
        for i in range(50):
            a = torch.full((256, 256), float(value + i), device="cuda")
            if not torch.equal(ionian.blas.matmul(a, b), a):
                wrong.append((value, i))

    threads = [threading.Thread(target=work, args=(100 * t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_arrays_of_cupy_and_jax_can_be_used():
    cupy = pytest.importorskip("cupy")
    a, b = cupy.random.rand(30, 40), cupy.random.rand(40, 50)
    with cupy.cuda.Stream(non_blocking=True):
        got = ionian.blas.matmul(a, b)
        assert isinstance(got, cupy.ndarray)
        assert cupy.allclose(got, a @ b)


@pytest.fixture(scope="module")
def jax():
    """Of the module: its client keeps descriptors of its own as long as the process lives."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    found = pytest.importorskip("jax")
    if found.default_backend() != "gpu":
        pytest.skip("jax sees no GPU here")
    found.numpy.zeros(1).block_until_ready()
    return found


def test_arrays_of_jax_can_be_read(jax):
    a = jax.numpy.arange(12.0).reshape(3, 4)
    out = torch.empty((3, 3), device="cuda")
    ionian.blas.matmul(a, a.T, out=out)
    torch.cuda.synchronize()
    assert float(out[2, 2]) == float((a @ a.T)[2, 2])
    with pytest.raises(exception.InvalidError, match="out="):
        ionian.blas.matmul(a, a.T)


def test_measured_algorithms_are_kept_for_the_next_process(cache):
    program = """
import torch, ionian
a = torch.randn(512, 768, device="cuda", dtype=torch.bfloat16)
b = torch.randn(768, 640, device="cuda", dtype=torch.bfloat16)
for _ in range(12):
    ionian.blas.matmul(a, b)
ionian.blas.finish_tuning()
"""
    run = lambda: subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: E731
    first = run()
    assert first.returncode == 0, first.stderr
    (file,) = (cache / "ionian").iterdir()
    assert file.name.startswith("matmul-") and file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    assert before.startswith("ionian matmul algorithms 1\n512,640,768,1,")
    assert run().returncode == 0
    assert file.read_text() == before
    file.write_text("nonsense")
    assert run().returncode == 0
    assert file.read_text().startswith("ionian matmul algorithms 1\n512,640,768,1,")
