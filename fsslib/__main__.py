"""``python -m fsslib``: the same as the command ``fsslib``."""

from .cli import main

main()
