"""reading.py and base.py's index: what is read, and the sentence for what is not."""

import numpy as np
import pytest
from fsslib.datasets.base import SegmentationDataset
from fsslib.datasets.reading import read_image, read_mask
from fsslib.basics.errors import InputError
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(call, path, found, cure):
    """The call raises an InputError with the file, what was found and a cure; returns its text."""
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert str(path) in text and found in text and cure in text and "expected" in text
    return text


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def photo(height=8, width=12):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def png(path, width, height, depth, colour, rows):
    """A PNG written by hand, for the bit depths that Pillow does not write."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b""))
    return path


def test_image_is_read_as_it_is(tmp_path):
    image = photo()
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image)), image)


def test_exif_turned_image_stands_upright(tmp_path):
    image, exif = photo(4, 6), Image.Exif()
    exif[0x0112] = 6                                     # the camera was turned: show rotated 90 degrees clockwise
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(image, -1))


@pytest.mark.parametrize("make, found", [
    (lambda p: save(p, photo()[..., 0]), "a grey image"),
    (lambda p: save(p, np.dstack([photo(), photo()[..., 0]])), "an RGBA image"),
    (lambda p: save(p, photo()[..., 0].astype(np.uint16) * 200), "a 16-bit or float image"),
    (lambda p: png(p, 2, 1, 16, 2, [bytes(range(12))]), "a 16-bit or float image"),
    (lambda p: Image.fromarray(photo()).convert("P").save(p), "a palette image"),
    (lambda p: save(p, photo()[..., 0] > 99), "a black-and-white image"),
], ids=["grey", "rgba", "16-bit grey", "16-bit rgb", "palette", "1-bit"])
def test_other_kinds_of_image(tmp_path, make, found):
    path = tmp_path / "a.png"
    make(path)
    refused(lambda: read_image(path), path, found, "8-bit RGB")


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    refused(lambda: read_image(tmp_path / "a.jpg"), tmp_path / "a.jpg", "a CMYK image", "convert('RGB')")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_image(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", photo(200, 200))
    path.write_bytes(path.read_bytes()[:3000])
    refused(lambda: read_image(path), path, "a damaged image", "Copy or download it again.")


def test_file_that_is_no_image(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("<html>404</html>")
    refused(lambda: read_image(path), path, "no image", "Replace the file")


def test_folder_and_missing_file(tmp_path):
    refused(lambda: read_image(tmp_path), tmp_path, "a folder", "path of a file")
    refused(lambda: read_image(tmp_path / "b.jpg"), tmp_path / "b.jpg", "no such file", "Put the file there")


def test_image_of_too_many_pixels(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", photo(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused(lambda: read_image(path), path, "too many pixels", "Scale it down.")


def test_palette_mask_gives_the_index_not_the_colour(tmp_path):
    ids = np.array([[0, 1, 2], [20, 255, 0]], np.uint8)
    image = Image.fromarray(ids)
    image.putpalette([7, 7, 7] * 256)                    # every class painted in one colour
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", 20, (2, 3)), ids)


@pytest.mark.parametrize("depth, row, expected", [
    (1, bytes([0b01010000]), [0, 1, 0, 1]),
    (2, bytes([0b00011011]), [0, 1, 2, 3]),
    (4, bytes([0x01, 0x2F]), [0, 1, 2, 15]),
    (8, bytes([0, 1, 2, 255]), [0, 1, 2, 255]),
])
def test_grey_mask_of_few_bits_keeps_its_numbers(tmp_path, depth, row, expected):
    path = png(tmp_path / "a.png", 4, 1, depth, 0, [row])
    assert read_mask(path, 20, (1, 4)).tolist() == [expected]


def test_mask_of_another_size(tmp_path):
    path = save(tmp_path / "a.png", np.ones((4, 6), np.uint8))
    text = refused(lambda: read_mask(path, 1, (4, 7)), path, "a mask of 6x4 pixels", "Export the mask")
    assert "7x4" in text


def test_class_id_outside_the_list(tmp_path):
    path = save(tmp_path / "a.png", np.array([[0, 1, 21]], np.uint8))
    assert "1..20" in refused(lambda: read_mask(path, 20), path, "class id 21", "Correct the mask")


@pytest.mark.parametrize("array, found", [(photo(), "an RGB image"),
                                          (photo()[..., 0].astype(np.uint16), "a 16-bit or float image")])
def test_other_kinds_of_mask(tmp_path, array, found):
    path = save(tmp_path / "a.png", array)
    refused(lambda: read_mask(path, 20), path, found, "class ids themselves")


def tiny(folder, masks):
    """A data set of two classes, image i grey value i."""
    data = SegmentationDataset()
    data.name, data.split, data.class_names = "tiny", "val", ("one", "two")
    data.ids = tuple(f"i{k}" for k in range(len(masks)))
    data.files = tuple((save(folder / f"{k}.jpg", np.full((2, 3, 3), k, np.uint8)),
                        save(folder / f"{k}.png", np.array(mask, np.uint8))) for k, mask in enumerate(masks))
    return data


MASKS = [[[0, 1, 1], [2, 255, 0]], [[2, 2, 2], [2, 2, 2]]]


def again(data):
    """The same data set without what it remembers, with a flag for every image that is read."""
    fresh, fresh.read = type("Fresh", (SegmentationDataset,), {})(), []
    for field in ("name", "split", "class_names", "ids", "files"):
        setattr(fresh, field, getattr(data, field))
    type(fresh).__getitem__ = lambda self, i: self.read.append(i) or SegmentationDataset.__getitem__(self, i)
    return fresh


def test_areas_by_hand_and_index_read_back(tmp_path):
    data = tiny(tmp_path, MASKS)
    assert data.areas.tolist() == [[2, 2, 1], [0, 0, 6]] and data.areas.dtype == np.int64
    fresh = again(data)
    assert fresh.areas.tolist() == data.areas.tolist() and fresh.digest == data.digest and fresh.read == []


def test_index_follows_a_changed_mask(tmp_path):
    data = tiny(tmp_path, MASKS)
    before = data.digest
    save(tmp_path / "1.png", np.ones((2, 3), np.uint8))
    fresh = again(data)
    assert fresh.areas[1].tolist() == [0, 6, 0] and fresh.digest != before and fresh.read == [0, 1]


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"no index"],
                         ids=["half", "empty", "text"])
def test_damaged_index_is_built_again(tmp_path, cache, damage):
    data = tiny(tmp_path, MASKS)
    expected, (path,) = data.areas.tolist(), (cache / "index").glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    fresh = again(data)
    assert fresh.areas.tolist() == expected and fresh.read == [0, 1]
    assert again(data).digest == data.digest and not list((cache / "index").glob("*.part"))


def test_same_bytes_elsewhere_have_the_same_digest(tmp_path):
    assert tiny(tmp_path / "a", MASKS).digest == tiny(tmp_path / "b", MASKS).digest


def test_list_entry_without_file(tmp_path):
    data = tiny(tmp_path, MASKS)
    (tmp_path / "1.png").unlink()
    refused(lambda: data.areas, tmp_path / "1.png", "no such file", "Put the file back")


def test_cache_that_is_a_file(tmp_path, monkeypatch):
    path = tmp_path / "taken"
    path.write_text("")
    monkeypatch.setenv("FSSLIB_CACHE", str(path))
    refused(lambda: tiny(tmp_path, MASKS).areas, path, "a file on this path", "Set FSSLIB_CACHE")


def test_bad_image_leaves_no_index(tmp_path, cache):
    data = tiny(tmp_path, MASKS)
    save(tmp_path / "1.png", np.full((2, 3), 3, np.uint8))
    refused(lambda: data.areas, tmp_path / "1.png", "class id 3", "Correct the mask")
    assert not list((cache / "index").iterdir())
