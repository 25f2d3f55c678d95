"""The ground floor: errors, seeds, files, configuration, devices, checkpoints, logs. Light to import."""

from .errors import InputError
from .storage import read_json, write_json

__all__ = ["InputError", "read_json", "write_json"]
