"""Arithmetic for ``shapes`` that gives the same bits on every machine.

IEEE 754 fixes the result of + - * / and sqrt to the last bit; it fixes neither sin and exp, which differ between
C libraries, nor the order of a float sum, which differs between processors. So only the former are used here, on
one element at a time, and sums run over integers.
"""

import random

import numpy as np


class Draw:
    """Random choices from one integer seed. Only ``random()`` is used: Python promises its stream for good."""

    def __init__(self, *seeds):
        seed = 0
        for part in seeds:
            seed = seed * 1_000_003 + part
        self._random = random.Random(seed).random

    def between(self, low, high):
        """A float in [low, high)."""
        return low + (high - low) * self._random()

    def integer(self, low, high):
        """An int in low..high, both included."""
        return low + int((high - low + 1) * self._random())

    def chance(self, probability):
        return self._random() < probability

    def pick(self, items):
        return items[self.integer(0, len(items) - 1)]


def cos_sin(turns):
    """Cosine and sine of an angle in turns (1 = full circle), float or array, to about 1e-7."""
    quarter = (turns - np.floor(turns + 0.5)) * (6.283185307179586 / 4)     # at most 0.79, then doubled twice
    q = quarter * quarter
    c = 1 + q * (-1 / 2 + q * (1 / 24 + q * (-1 / 720 + q * (1 / 40320))))
    s = quarter * (1 + q * (-1 / 6 + q * (1 / 120 + q * (-1 / 5040 + q * (1 / 362880)))))
    for _ in range(2):
        c, s = c * c - s * s, 2 * s * c
    return c, s


def turns_of(x, y):
    """Angle of the point (x, y) in turns, -0.5..0.5, to about 2e-6 (array)."""
    ax, ay = np.abs(x), np.abs(y)
    a = np.minimum(ax, ay) / np.maximum(np.maximum(ax, ay), 1e-12)
    q = a * a
    angle = a * (0.9998660 + q * (-0.3302995 + q * (0.1801410 + q * (-0.0851330 + q * 0.0208351))))
    angle = angle * (1 / 6.283185307179586)
    angle = np.where(ay > ax, 0.25 - angle, angle)
    angle = np.where(x < 0, 0.5 - angle, angle)
    return np.where(y < 0, -angle, angle)


def wave(t):
    """A triangle wave of period 1 between -1 (at whole numbers) and 1 (at halves)."""
    return 1 - 4 * np.abs(t - np.floor(t) - 0.5)


def smooth(t):
    """``t`` clipped to 0..1 with soft ends (3t^2 - 2t^3)."""
    t = np.minimum(np.maximum(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def hashed(height, width, seed):
    """float64 (height, width) in [0, 1): white noise, an integer hash of row, column and seed."""
    rows, columns = np.arange(height, dtype=np.uint32)[:, None], np.arange(width, dtype=np.uint32)[None]
    h = rows * np.uint32(0x9E3779B1) + columns * np.uint32(0x85EBCA77) + np.array([seed & 0xFFFFFFFF], np.uint32)
    for factor in (0x7FEB352D, 0x846CA68B):
        h = (h ^ (h >> np.uint32(15))) * np.uint32(factor)
    return (h ^ (h >> np.uint32(16))).astype(np.float64) * (1 / 4294967296)


def stretch(values, rows, columns, soft=False):
    """Bilinear samples of ``values`` (h, w) or (h, w, 3) at all pairs of ``rows`` and ``columns`` (floats)."""
    for axis, places in enumerate((rows, columns)):
        low = np.minimum(np.floor(places).astype(np.int64), values.shape[axis] - 2)
        part = places - low
        part = (smooth(part) if soft else part).reshape((-1,) + (1,) * (values.ndim - 1 - axis))
        first, second = np.take(values, low, axis), np.take(values, low + 1, axis)
        values = first + (second - first) * part
    return values


def value_noise(height, width, cell, seed):
    """float64 (height, width) in 0..1: smooth noise with features of about ``cell`` pixels."""
    rows, columns = np.arange(height) / cell, np.arange(width) / cell
    lattice = hashed(int(rows[-1]) + 2, int(columns[-1]) + 2, seed)
    return stretch(lattice, rows, columns, soft=True)


def cloud(height, width, cell, seed, octaves=4):
    """float64 (height, width) in 0..1: value noise summed over ``octaves`` of halving size."""
    total, weight, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        total = total + weight * value_noise(height, width, max(cell, 1.5), seed + 7919 * octave)
        norm, weight, cell = norm + weight, weight * 0.5, cell * 0.5
    return total / norm


def box_blur(values, radius):
    """int32 (h, w): mean over (2 radius + 1)^2 pixels, rounded down after each direction; exact for integers.

    ``values``: int32 (h, w), zero in the outermost ``2 radius + 1`` rows and columns.
    """
    side = 2 * radius + 1
    for _ in range(2):                                      # rows, then columns
        sums = np.cumsum(values, axis=0, dtype=np.int32)
        blurred = np.zeros_like(values)
        blurred[radius + 1:-radius] = (sums[side:] - sums[:-side]) // np.int32(side)
        values = blurred.T
    return values
