"""Masks for other tools: COCO, YOLO, Label Studio, GeoJSON. Every format gives the same mask back, pixel by pixel."""

import json
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..basics.storage import atomic_path, write_json
from .outlines import area, keyhole, polygons


def export(kind, folder, photos, classes):
    """Writes ``photos`` in the format ``kind`` (of ``FORMATS``) below ``folder`` and returns the path.

    ``photos``: list of (file name, mask uint8 (H,W), dict class name -> score) · ``classes``: names, class n at n - 1.
    """
    return FORMATS[kind](folder, photos, classes)


def coco(folder, photos, classes):
    """``coco.json``: run lengths of each class of each photo, compressed, which keep holes."""
    from pycocotools import mask as rle
    images, annotations = [], []
    for number, (name, mask, scores) in enumerate(photos, 1):
        images.append({"id": number, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]})
        for n, chosen in _classes_of(mask):
            runs = rle.encode(np.asfortranarray(chosen.astype(np.uint8)))
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": n, "iscrowd": 0, "score": scores[classes[n - 1]],
                                "area": int(chosen.sum()), "bbox": rle.toBbox(runs).tolist(),
                                "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")}})
    path = folder / "coco.json"
    write_json(path, {"images": images, "annotations": annotations,
                      "categories": [{"id": n, "name": name} for n, name in enumerate(classes, 1)]})
    return path


def yolo(folder, photos, classes):
    """``yolo/``: ``data.yaml``, and a text file a photo, each line a class number from 0 and a polygon in shares of width and height."""
    target = folder / "yolo"
    (target / "labels").mkdir(parents=True, exist_ok=True)
    for name, mask, _ in photos:
        size = np.array(mask.shape[::-1])
        lines = [" ".join([str(n - 1), *(f"{v:.8g}" for v in (keyhole(rings)[:-1] / size).ravel())])
                 for n, chosen in _classes_of(mask) for rings in polygons(chosen)]
        _write(target / "labels" / f"{Path(name).stem}.txt", "".join(f"{line}\n" for line in lines))
    _write(target / "data.yaml", "names:\n" + "".join(f"  {n}: {json.dumps(name, ensure_ascii=False)}\n" for n, name in enumerate(classes)))
    return target


def labelstudio(folder, photos, classes):
    """``labelstudio.json``: tasks with predictions, polygons in percent; photos by name, below the local files that it serves."""
    tasks = []
    for name, mask, scores in photos:
        height, width = mask.shape
        regions = [{"id": f"{n}-{at}", "type": "polygonlabels", "from_name": "label", "to_name": "image", "original_width": width,
                    "original_height": height, "image_rotation": 0, "score": scores[classes[n - 1]],
                    "value": {"points": (100 * keyhole(rings)[:-1] / (width, height)).tolist(), "closed": True,
                              "polygonlabels": [classes[n - 1]]}}
                   for n, chosen in _classes_of(mask) for at, rings in enumerate(polygons(chosen))]
        tasks.append({"data": {"image": f"/data/local-files/?d={quote(name)}"}, "predictions": [{"model_version": "fsslib", "result": regions}]})
    path = folder / "labelstudio.json"
    write_json(path, tasks)
    return path


def geojson(folder, photos, classes):
    """``geojson/``: a FeatureCollection a photo, in pixels, a MultiPolygon a class with its holes (QuPath, QGIS and others)."""
    target = folder / "geojson"
    target.mkdir(parents=True, exist_ok=True)
    for name, mask, scores in photos:
        features = [{"type": "Feature", "properties": {"name": classes[n - 1], "class": n, "score": scores[classes[n - 1]]},
                     "geometry": {"type": "MultiPolygon", "coordinates": [
                         [_turned(ring, outer=at == 0).tolist() for at, ring in enumerate(rings)] for rings in polygons(chosen)]}}
                    for n, chosen in _classes_of(mask)]
        write_json(target / f"{Path(name).stem}.geojson", {"type": "FeatureCollection", "features": features})
    return target


FORMATS = {"coco": coco, "yolo": yolo, "labelstudio": labelstudio, "geojson": geojson}


def _classes_of(mask):
    """Yields (class number, bool (H,W)) of each class that a mask shows."""
    for n in np.unique(mask):
        if n not in (0, 255):
            yield int(n), mask == n


def _turned(ring, outer):
    """Outer rings one way round and holes the other, as RFC 7946 has it."""
    return ring if (area(ring) > 0) == outer else ring[::-1]


def _write(path, text):
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
