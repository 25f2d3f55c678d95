"""fsslib: few-shot segmentation to read, run and reproduce.

Importing the package loads torch at most: no Jupyter, no matplotlib, no scikit-image.
"""

__version__ = "0.1.0"


def __getattr__(name):
    """``fsslib.Segmenter``, imported when it is asked for."""
    if name == "Segmenter":
        from .predict import Segmenter
        return Segmenter
    raise AttributeError(f"module 'fsslib' has no attribute {name!r}")
