"""Signals: the first one waits for the step, the second one does not."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fsslib.basics.interrupts import Terminated, exit_status, held, raise_terminated


@pytest.fixture
def command_line():
    """SIGTERM as under the command line."""
    before = signal.signal(signal.SIGTERM, raise_terminated)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number, kind, status", [(signal.SIGINT, KeyboardInterrupt, 130), (signal.SIGTERM, Terminated, 143)])
def test_the_first_waits_and_is_then_delivered(command_line, capfd, number, kind, status):
    before = signal.getsignal(number)
    with pytest.raises(kind) as raised, held() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked == number and "once more ends it at once" in capfd.readouterr().err
        stop.deliver()
        raise AssertionError("not reached")
    assert exit_status(raised.value) == status and signal.getsignal(number) == before


def test_the_second_ends_it_at_once(command_line):
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")


def test_what_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_changes():
    seen = []

    def work():
        with held() as stop:
            seen.append((stop.asked, signal.getsignal(signal.SIGINT)))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, signal.getsignal(signal.SIGINT))]


WORKER = """
import multiprocessing, os, signal, sys, time
from fsslib.basics.interrupts import deaf
def work(ready):
    deaf()
    ready.set()
    time.sleep(60)
if __name__ == "__main__":
    ready = multiprocessing.Event()
    worker = multiprocessing.Process(target=work, args=(ready,))
    worker.start()
    ready.wait()
    for number in ("INT", "TERM"):
        os.system(f"kill -{number} {worker.pid}")            # by a shell: another process than the parent
    time.sleep(0.3)
    print(worker.is_alive(), flush=True)
    worker.terminate()
    worker.join(20)
    print(worker.exitcode)
"""


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_a_loading_process_listens_to_its_parent_alone(tmp_path):
    (tmp_path / "script.py").write_text(WORKER)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.stdout.split() == ["True", "0"], done.stderr
