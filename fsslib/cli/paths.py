"""Paths as parameters: ``~`` is the home folder also where no shell has expanded it, as in ``--out=~/runs``."""

from pathlib import Path

import click

from ..basics.storage import user_path


class UserPath(click.Path):
    def convert(self, value, param, ctx):
        return super().convert(user_path(value) if str(value).startswith("~") else value, param, ctx)


PATH = UserPath(path_type=Path)
NAME_OR_PATH = UserPath(path_type=str)       # stays the text that it is: a name, or a file
