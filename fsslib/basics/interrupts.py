"""Ctrl-C and SIGTERM: a run ends where it can be gone on with."""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOLD = b"\nstopping: the step is finished and kept; once more ends it at once\n"


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception: what an interruption cleans up, a scheduler's end of time cleans up, too."""


def raise_terminated(signum, frame):
    raise Terminated


def exit_status(error):
    """What a shell expects of a process that a signal ended: 130, or 143 for SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


class Held:
    """``asked``: a signal came. ``deliver()`` hands it to whoever would have got it."""
    asked = None

    def __init__(self):
        self.before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(self, signum, frame):
        if self.asked:                       # the second one does not wait
            return self.deliver()
        self.asked = signum
        os.write(2, TOLD)                    # no print: it may be what was interrupted

    def restore(self):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def deliver(self):
        self.restore()
        signal.raise_signal(self.asked or signal.SIGTERM)         # or another process was asked


@contextlib.contextmanager
def held():
    """Within it the first Ctrl-C or SIGTERM is only noted in the ``Held`` that it yields, so that no step is cut in two; what is
    ignored anyway (``nohup``) stays so. In another thread than the main one nothing changes."""
    here = Held()
    try:
        for number, handler in here.before.items():
            if handler not in (signal.SIG_IGN, None):            # None: not of Python
                signal.signal(number, here.note)
    except ValueError:                       # not the main thread
        yield here
        return
    try:
        yield here
    finally:
        here.restore()


def deaf(worker=None):
    """For a loading process: what a terminal or a scheduler sends to all processes is for its parent, which then ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):       # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_by_parent, daemon=True).start()


def _end_by_parent():
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
