"""The variables that a notebook's kernel finds: folders that mean the same from its own folder, and a home."""

import contextlib
import os

from ..basics.storage import cache_dir, data_dir, user_path

FOLDERS = ("FSSLIB_CACHE", "FSSLIB_DATA", "HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
           "MPLCONFIGDIR", "TMPDIR", "TORCH_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")


def for_kernel(package):
    """{name: value}: the variables that name folders, absolute, and a PYTHONPATH that begins with the folder ``package``."""
    paths = os.environ.get("PYTHONPATH")
    entries = [os.path.abspath(entry) for entry in paths.split(os.pathsep)] if paths else []
    return {**{name: str(user_path(os.environ[name]).absolute()) for name in FOLDERS if os.environ.get(name)},
            "PYTHONPATH": os.pathsep.join([str(package), *entries])}


@contextlib.contextmanager
def changed(**variables):
    """Sets environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def at_home(folder):
    """Gives Jupyter, IPython and Matplotlib ``folder`` to write into where the user has no home that takes files (containers,
    cron); data and cache stay where they are, which raises InputError if that is nowhere."""
    home, cache = os.path.expanduser("~"), cache_dir()
    if os.path.isdir(home) and os.access(home, os.W_OK | os.X_OK):
        return contextlib.nullcontext()
    folder.mkdir(exist_ok=True)
    return changed(HOME=str(folder), FSSLIB_CACHE=str(cache), FSSLIB_DATA=str(data_dir()))
