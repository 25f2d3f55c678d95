"""Scores: mIoU and FB-IoU over episodes, the recall of a map, and the support test, all with intervals."""

from .scores import EXAMPLES, RESAMPLES, EpisodeScores, examples, iou, percentiles, recall_curve, resamples
from .support import EMPTY, ImageMeans, auc, crowded_values, presence, share

__all__ = ["EMPTY", "EXAMPLES", "RESAMPLES", "EpisodeScores", "ImageMeans", "auc", "crowded_values", "examples", "iou",
           "percentiles", "presence", "recall_curve", "resamples", "share"]
