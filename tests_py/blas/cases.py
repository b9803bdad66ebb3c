"""Sizes with ragged edges, and how far a product may be from float64's, by type of the result.

A sum of k products of numbers of size 1 is of size √k; its error is that times a few units in the
last place of the result, and of float32 for what is added up in it.
"""

SHAPES = [
    ((), 1, 1, 1),
    ((), 7, 16, 33),
    ((), 33, 7, 127),
    ((), 127, 129, 16),
    ((3,), 5, 7, 9),
    ((2, 3), 8, 4, 16),
]

#: Of the GPU's test only: multiples of 16 for 8-bit types, large ones for many tiles.
ALIGNED = [((), 16, 16, 16), ((), 256, 512, 128), ((), 1000, 1008, 1024), ((4,), 64, 32, 48)]
LARGE = [((), 1000, 999, 1001), ((), 256, 256, 256), ((), 1024, 1024, 1024)]

TOLERANCE = {
    "float64": 1e-14,
    "float32": 2e-6,
    "tf32": 2e-3,
    "float16": 2e-3,
    "bfloat16": 1.6e-2,
    "int8": 0,
}
