"""``fsslib reproduce``: the notebooks as a batch, run under a profile, with a report.

Importing this package loads neither torch, papermill nor Jupyter: they come in when a notebook has to run.
"""

from .runner import reproduce

__all__ = ["reproduce"]
