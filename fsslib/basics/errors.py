"""The one exception a user is meant to read."""

import re

MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "Cannot allocate memory", "MemoryError",
          "is killed by signal: Killed")     # of torch's allocators, of C++, of the system, of a loading process


class InputError(ValueError):
    """Something a user gave cannot be used; the message says what to do about it.

    ``where`` names the file, option or folder; ``found`` and ``expected`` say what was there and what
    should have been; ``cure`` is a full sentence. The command line prints it and exits with 2.
    """

    def __init__(self, where, found, expected, cure):
        self.where, self.found, self.expected, self.cure = str(where), found, expected, cure
        super().__init__(f"{where}: found {found}, expected {expected}. {cure}")

    def __reduce__(self):                    # so that it comes whole out of a worker process
        return type(self), (self.where, self.found, self.expected, self.cure)


def not_readable(path, expected):
    """InputError of a file or folder that is there and may not be read: neither missing nor damaged."""
    return InputError(path, "no permission to read it", expected,
                      f"Let its owner allow it: chmod a+r {path} (and a+x for the folders above it).")


def apart(first, second, digits=1):
    """Two numbers as texts with so many decimals, or as many more as it takes that two different numbers look different."""
    while first != second and f"{first:.{digits}f}" == f"{second:.{digits}f}" and digits < 15:
        digits += 1
    return f"{first:.{digits}f}", f"{second:.{digits}f}"


def out_of_memory(error):
    """The InputError for what memory that ran out raised, on a CPU, on a GPU or in a loading process; None for any other."""
    text = str(error)
    if not isinstance(error, MemoryError) and not any(sign in text for sign in MEMORY):
        return None
    asked = re.search(r"allocate (?:memory: you tried to allocate )?([\d.]+) ?(bytes|[KMGT]iB)", text)
    found = f"no room for {asked[1]} {asked[2]}" if asked else "too little of it"
    place = "on the GPU" if "CUDA" in text else "on this machine"
    return InputError("memory", f"{found} {place}", "enough for this size and batch", "Use a smaller --size, where there is one "
                      "a smaller --batch, do without --no-bank, or close other programs.")
