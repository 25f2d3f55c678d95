"""Sentences that a user reads: two numbers that differ, and memory that ran out."""

import pytest
import torch

from fsslib.basics.errors import InputError, apart, out_of_memory


@pytest.mark.parametrize("first, second, digits, told", [
    (0.001, 0.002, 1, ("0.001", "0.002")), (1.0, 2.0, 1, ("1.0", "2.0")), (0.04, 0.05, 1, ("0.0", "0.1")), (3.0, 3.0, 1, ("3.0", "3.0")),
    (1.9999, 2.0001, 0, ("1.9999", "2.0001")), (12.5, 12.25, 0, ("12.5", "12.2"))])
def test_two_numbers_that_differ_look_different(first, second, digits, told):
    assert apart(first, second, digits) == told


def test_what_the_cpu_allocator_says_is_one_sentence():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10 ** 15, dtype=torch.uint8)
    told = out_of_memory(raised.value)
    assert isinstance(told, InputError) and "no room for 1000000000000000 bytes on this machine" in str(told) and "--size" in told.cure


@pytest.mark.parametrize("error, word", [
    (MemoryError(), "too little of it on this machine"), (OSError(12, "Cannot allocate memory"), "on this machine"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8 GiB"), "no room for 2.50 GiB on the GPU"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "on this machine")])
def test_memory_that_ran_out(error, word):
    assert word in str(out_of_memory(error))


def test_any_other_error_stays_one():
    assert out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None and out_of_memory(OSError(2, "gone")) is None
