"""Evaluation: the same fixed episodes for every model, one result.json a run."""

from ..basics.machine import hardware, versions
from .maps import measure_maps
from .scoring import answer_to, evaluate, protocol_episodes

__all__ = ["answer_to", "evaluate", "hardware", "measure_maps", "protocol_episodes", "versions"]
