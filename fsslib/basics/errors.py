"""The one exception a user is meant to read."""


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
