"""What a training is made of: frozen values, one for each preset.

    recipe = replace(PRESETS["default"], augment=True, validation=0)
    threshold = measured_threshold(recipe, data_sha256)

A recipe decides, with the data, what a training makes; as a dict it is the record.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training, except the data.

    The values here are those of the preset `default`.
    """

    preset: str = "default"
    augment: bool = False  # off, so that its gain can be measured
    augmentation: str = "default"  # of augment.AUGMENTATIONS, where `augment` is on
    # ---- network
    encoder: str = "scratch"  # or vgg16
    encoder_weights: str = ""  # VGG16's: imagenet (downloaded) or a file
    start_sha256: str = ""  # of the network whose weights are the first ones
    filters: tuple[int, ...] = (16, 32, 64, 128)  # four levels: DRIVE needs no fifth
    dropout: float = 0.0  # normalisation and augmentation are enough
    batch_normalization: bool = True  # allows a rate three times as high
    # ---- fitting
    optimizer: str = "muon-cosine"  # learns in fewer batches than AdamW
    learning_rate: float = 6e-3  # its peak, after the warm-up; twice the usual
    loss: str = "cross-entropy"  # gives probabilities that need no calibration
    epochs: int = 80  # of 125 batches: 10,000, where the curve is flat
    steps: int = 125  # the article's epoch
    batch_size: int = 16  # the article's: four photographs, four patches each
    patch_side: int = 64  # the article's
    inside_field: bool = True  # a patch's centre lies where the camera saw the retina
    # Of the field of view, pixels, at which photographs are learnt from; (): their own.
    diameters: tuple[float, ...] = ()
    shown_diameter: float = 0.0  # at which photographs are predicted; 0: as learnt
    # Times that: the maps at all of them are averaged. AUC +0.0007, 2.7 times as long.
    factors: tuple[float, ...] = (0.9, 1.0, 1.25)
    soft_labels: bool = False  # where they are resampled, shares of vessel, not cut
    seed: int = 0
    precision: str = "auto"  # decided by a short timing; the record says how
    # ---- which photographs, which epoch
    validation: int = 4  # photographs held out, to choose epoch and threshold on
    folds: int = 0  # parts, one of which is held out instead; 0: none
    fold: int = 0
    keep: str = "best"  # epoch on validation, or last

    @property
    def batches(self) -> int:
        return self.epochs * self.steps

    @property
    def keeps_best(self) -> bool:
        """Whether the epoch is chosen on photographs that are held out."""
        return self.keep == "best" and bool(self.validation or self.folds)

    @property
    def name(self) -> str:
        """The default name of a network."""
        parts = [self.preset, self.encoder]
        parts += ["augment"] if self.augment else []
        parts += ["focal"] if self.loss == "focal" else []
        parts += [f"fold{self.fold}of{self.folds}"] if self.folds else []
        return "-".join(parts)


PRESETS = {
    "default": Recipe(),
    "large": Recipe(
        preset="large",
        filters=(32, 64, 128, 256),  # twice: AUC +0.0008 for 2.3 times the minutes
        learning_rate=3e-3,  # twice that gained nothing on fold 0
    ),
    "cameras": Recipe(
        preset="cameras",
        filters=(32, 64, 128, 256),  # AUC +0.0014 on cameras that were left out
        learning_rate=3e-3,
        augmentation="cameras",
        # Cameras differ threefold in what a pixel is, and in what is sharp.
        diameters=(380.0, 540.0, 760.0, 1080.0, 1520.0),
        # The best one is 450 to 900, as cameras differ; the mean is near it for all.
        shown_diameter=640.0,
        factors=(0.7, 1.0, 1.4),
        soft_labels=True,  # else a vessel of half a pixel is none
        validation=0,
        keep="last",
    ),
    "article": Recipe(
        preset="article",
        augmentation="article",
        filters=(32, 64, 128, 256, 512),  # 7,760,097 parameters
        dropout=0.1,  # after each convolution
        batch_normalization=False,  # the article has none
        inside_field=False,  # it takes patches from anywhere
        factors=(1.0,),
        optimizer="adam",
        learning_rate=1e-3,  # constant
        epochs=100,
        validation=0,  # it learns from all twenty
        keep="last",
    ),
}
# VGG16's encoder takes eight times as long a batch: fewer of them.
PRETRAINED = {"learning_rate": 3e-3, "epochs": 20}
# A trained network has its normalisation in its weights, and little left to learn.
STARTED = {"batch_normalization": False, "learning_rate": 3e-4, "epochs": 16}


@dataclass(frozen=True)
class Threshold:
    """At which probability a map is cut, and how that was found.

    Attributes:
        value: 0..1.
        source: `held out` (highest Dice on the photographs that the network held out),
            `out of fold` (the same on maps of all photographs, each by a network of the
            same recipe that held it out), `left out` (mean of those of highest Dice on
            data sets, each left out by the network that drew its maps), `mean` (of the
            networks in an average), `not measured` (0.5) or `unknown`.
        photographs, folds: on how many, and in how many parts, it was found.
        batches: that the networks it was found with had learnt from.
        learnt_batches: that the network it is used for has learnt from.
        views: of each photograph that were averaged there.
        data: what the photographs were, in words.
    """

    value: float = 0.5
    source: str = "not measured"
    photographs: int = 0
    folds: int = 0
    batches: int = 0
    learnt_batches: int = 0
    views: int = 1
    data: str = ""

    def __str__(self) -> str:
        if self.source == "held out":
            held_out = "photograph" if self.photographs == 1 else "photographs"
            return f"highest Dice on the {self.photographs} {held_out} held out"
        if self.source == "out of fold":
            return (
                f"highest Dice on out-of-fold maps of {self.photographs} photographs "
                f"({self.data}, {self.folds} folds, {self.batches} batches, one view)"
            )
        if self.source == "left out":
            return (
                f"mean of the best of cameras that were left out: {self.data}, "
                f"{self.photographs} photographs, {self.batches} batches"
            )
        return "mean of the networks' own" if self.source == "mean" else self.source


@dataclass(frozen=True)
class MeasuredThreshold:
    """A threshold that was measured out of fold, and what it was measured with."""

    recipe: Recipe
    data_sha256: str
    threshold: Threshold


# SHA-256 of the data that thresholds were measured on, and of models/vessels.keras.
DRIVE = "97b294b88de21b9c4be5db2016825644414b6108bbf82fbefe5abd5b600946cd"
CAMERAS = "18865761045413852cab1d893da22da4dfbac87f27474604cd88e83ced83fac8"
VESSELS = "c3ea5815a276a563c64e56ae0b164afdc3553200fd31c6a9b1303b9d461afc38"
LEFT_OUT = ("CHASE_DB1", "DRIVE, training", "FIVES_sample", "RETA")


def _on_drive(value: float, recipe: Recipe) -> MeasuredThreshold:
    """A threshold from five folds of DRIVE's training photographs."""
    recipe = replace(recipe, augment=True, keep="last", folds=5)
    threshold = Threshold(
        value,
        "out of fold",
        photographs=20,
        folds=5,
        batches=recipe.batches,
        learnt_batches=recipe.batches,
        data="DRIVE, training",
    )
    return MeasuredThreshold(recipe, DRIVE, threshold)


MEASURED = (
    # python -m benchmarks.cross_validate rate6-4000 --augment --epochs 32
    # python -m benchmarks.out_of_fold output/rate6-4000-seed0
    _on_drive(0.399, replace(PRESETS["default"], epochs=32)),
    # python -m benchmarks.cross_validate large-three-4000 --preset large --augment
    #     --epochs 32
    # python -m benchmarks.out_of_fold output/large-three-4000-seed0
    _on_drive(0.395, replace(PRESETS["large"], epochs=32)),
    # python -m benchmarks.cross_validate start-large-2000 --augment
    #     --start models/vessels.keras
    # python -m benchmarks.out_of_fold output/start-large-2000-seed0
    _on_drive(
        0.391,
        replace(
            PRESETS["default"],
            **STARTED,
            filters=(32, 64, 128, 256),
            start_sha256=VESSELS,
        ),
    ),
    # python -m benchmarks.leave_one_out gpu-cameras-large-10000-seed1 --preset cameras
    #     --augment --seed 1; for CHASE_DB1, FIVES_sample and RETA.
    MeasuredThreshold(
        replace(PRESETS["cameras"], augment=True),
        CAMERAS,
        Threshold(
            0.389,
            "left out",
            photographs=119,
            batches=10000,
            learnt_batches=10000,
            data=", ".join(LEFT_OUT),
        ),
    ),
)


def measured_threshold(recipe: Recipe, data_sha256: str) -> Threshold:
    """The threshold of a network that held nothing out.

    A measured one serves a network that differs from the measured ones only in having
    learnt from all the photographs, and for no fewer batches. Seed, precision and the
    preset's name are free: between three seeds of an earlier recipe it was 0.391 to
    0.401. All others get 0.5.
    """
    for measured in MEASURED:
        alike = replace(
            measured.recipe,
            preset=recipe.preset,  # a name for what follows
            epochs=recipe.epochs,
            steps=recipe.steps,
            seed=recipe.seed,
            precision=recipe.precision,
            folds=0,
            validation=0,
            keep=recipe.keep,
        )
        enough = recipe.batches >= measured.recipe.batches
        if alike == recipe and enough and data_sha256 == measured.data_sha256:
            return replace(measured.threshold, learnt_batches=recipe.batches)
    return Threshold(learnt_batches=recipe.batches)


def family(recipe: dict) -> str:
    """A hash of what the networks of a cross-validation share.

    That is all but the fold, and the precision, which a timing may choose otherwise.
    """
    own = ("fold", "precision")
    shared = {name: value for name, value in recipe.items() if name not in own}
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


def as_record(recipe: Recipe) -> dict:
    """The recipe as JSON holds it."""
    return json.loads(json.dumps(asdict(recipe)))
