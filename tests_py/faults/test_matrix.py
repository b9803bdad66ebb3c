"""The matrix is whole: each row has tests that exist, or a reason."""

from __future__ import annotations

import pathlib
import re

import pytest
from matrix import MATRIX, Row

ROOT = pathlib.Path(__file__).parents[2]


def test_no_number_is_left_out():
    assert sorted(MATRIX) == list(range(1, 47))


@pytest.mark.parametrize("number", MATRIX)
def test_each_row_has_tests_or_a_reason(number):
    row = MATRIX[number]
    assert bool(row.tests) != bool(row.none_because), row


def defined(reference: str) -> bool:
    path, _, name = reference.partition("::")
    text = (ROOT / path).read_text()
    if path.endswith(".py"):
        return re.search(rf"^(async )?def {name}\(", text, re.MULTILINE) is not None
    suite, _, test = name.partition(".")
    return re.search(rf"TEST(_F|_P)?\({suite},\s*{test}\)", text) is not None


@pytest.mark.parametrize("row", MATRIX.values(), ids=[f"row{number:02}" for number in MATRIX])
def test_each_named_test_exists(row: Row):
    missing = [each for each in row.tests if not defined(each)]
    assert not missing
