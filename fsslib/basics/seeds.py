"""Random streams: item n of seed s draws the same numbers in every process, worker and resumed run."""


def stream(seed, n):
    """Number ``n`` of the streams of ``seed``, an argument for ``torch.manual_seed``.

    On a CPU torch looks at its last 32 bits alone (``seed << 32`` would be lost), so the streams of different seeds
    start a golden section of the 2^32 apart.
    """
    return (seed * 0x9E3779B1 + n) % 2 ** 32
