"""Maps whose every pixel a test decides, with rows as predict.py notes them."""

from retina.identity import identify
from retina.maps import Row, write_map


def write_hand_made(folder, image, probability, field_of_view, vessels=None, **changes):
    """Writes a map of a photograph with its field and its row. Returns the row.

    `vessels` is a picture of them; `changes` are columns that differ from those of an
    ordinary map.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = identify(image)
    usual = {
        "name": identity.name,
        "photograph": str(image),
        "photograph_sha256": identity.file_sha256,
        "pixels_sha256": identity.pixels_sha256,
        "network": "models/unet.keras",
        "network_sha256": "a" * 64,
        "family": "",
        "role": "unseen",
        "likely_copies": "",
        "epoch": "last",
        "threshold": 0.4,
        "threshold_source": "not measured",
        "field_from": "data set",
        "height": probability.shape[0],
        "width": probability.shape[1],
        "field_diameter": None,
        "shown_diameter": None,
        "scale": 1.0,
        "factors": "1",
        "scale_from": "field of view",
        "scale_file": "",
        "bits": 8,
        "views": 1,
        "precision": "float32",
        "tile_side": 640,
        "tile_overlap": 64,
        "mean_probability": 0.5,
        "uncertain": 0.5,
        "note": "",
        "version": "1.0",
    }
    row = Row(**usual | changes)
    pictures = {"vessels": vessels} if vessels else {}
    return write_map(folder, row, probability, field_of_view, **pictures)
