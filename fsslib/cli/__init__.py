"""The command line ``fsslib``. Commands import what they need when they run, so that --help answers at once."""

import errno
import os
import signal
import sys

import click

from .. import __version__
from ..basics.errors import InputError, out_of_memory
from ..basics.interrupts import exit_status, raise_terminated
from .paths import NAME_OR_PATH, PATH

# Threads that wait for each other sleep instead of spinning: beside a loading worker or any other job a step is twice
# as fast, alone no slower. Read by the OpenMP of torch when it is first imported, also in the notebooks' kernels.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


def main():
    """Entry point: bad input, a full or closed disk, too little memory, a missing package: one sentence on stderr and exit
    code 2; 130 after Ctrl-C and 143 after SIGTERM, which both leave nothing half-written."""
    for stream in (sys.stdout, sys.stderr):                  # a terminal that has no letters for a class name gets escapes
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, raise_terminated)
    try:
        sys.exit(cli(prog_name="fsslib", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as error:             # how click hands on an interruption, and a question without an answer
        click.echo("fsslib: stopped", err=True)
        sys.exit(exit_status(error.__cause__) if isinstance(error.__cause__, KeyboardInterrupt) else 1)
    except InputError as error:
        _refuse(error)
    except ModuleNotFoundError as error:
        if (error.name or "fsslib").startswith("fsslib"):
            raise
        _refuse(InputError("Python", f"no package {error.name!r}", "every package of pyproject.toml",
                           "Install the kit again (pip install -e .); `fsslib doctor` lists what is missing."))
    except (MemoryError, RuntimeError) as error:
        if not (told := out_of_memory(error)):
            raise
        _refuse(told)
    except OSError as error:
        if error.errno not in DISK:
            if told := out_of_memory(error):
                _refuse(told)
            raise
        closed = error.errno in (errno.EACCES, errno.EPERM)
        _refuse(InputError(error.filename or "disk", error.strerror, "a place with room that may be read and written",
                           ("Correct its permissions" if closed else "Make room")
                           + ", or choose another folder; what was written before is whole."))


def _refuse(error):
    click.echo(f"fsslib: {error}", err=True)
    sys.exit(2)


class _Commands(click.Group):
    def invoke(self, context):
        try:
            return super().invoke(context)
        except EOFError as error:            # click takes it for Ctrl-C and says no more than "Aborted!"
            raise RuntimeError("a file ends before its time") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def cli():
    """Few-shot segmentation to read, run and reproduce.

    Start with `fsslib doctor`, then `fsslib reproduce`.
    """


@cli.command()
@click.option("--profile", type=NAME_OR_PATH, default="demo", help="demo, laptop, paper-voc, paper-coco, or the path of a profile file.")
@click.option("--publish", is_flag=True, help="Also update notebooks/ and figures/ from this run.")
@click.option("--force", is_flag=True, help="Run again what is up to date.")
@click.option("--only", multiple=True, metavar="NAME", help="Run these notebooks only; may be repeated.")
@click.option("--out", type=PATH, help="Folder instead of runs/PROFILE.")
def reproduce(profile, publish, force, only, out):
    """Run the notebooks in order and write runs/PROFILE/index.html."""
    from ..reproduce import reproduce as run
    sys.exit(run(profile, publish=publish, force=force, only=list(only) or None, out=out))


@cli.command()
def doctor():
    """Check this machine: packages, devices, disk, data, and what they allow."""
    from ..doctor import examine
    rows = examine()
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{'ok  ' if row.ok else 'LOOK'}  {row.name:{width}}  {row.found}" +
                   ("" if row.ok else f"\n{'':{width + 8}}{row.cure}"))
    sys.exit(0 if all(row.ok or not row.required for row in rows) else 1)


from . import benches, evaluation, images, predict, results, score, training    # noqa: E402, F401  they add their commands to ``cli``
