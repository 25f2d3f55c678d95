"""fsslib: few-shot segmentation to read, run and reproduce.

Importing the package loads torch at most: no Jupyter, no matplotlib, no scikit-image.
"""

__version__ = "0.1.0"
