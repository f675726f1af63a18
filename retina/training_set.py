"""What a training learns from: which photographs, and at which scales.

people = find_people(read)
learnt, held_out = split(people, recipe)
pictures = list(at_diameters(read[0], (380, 540)))
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from retina import networks
from retina.datasets import Labelled
from retina.field_of_view import estimate_field_of_view, given_field_of_view
from retina.files import InputError
from retina.pictures import as_image
from retina.recipes import Recipe
from retina.resolution import unless_near
from retina.tiling import resample

# A photograph is enlarged by no more: it has no detail there, and others that do teach
# that scale.
MOST_ENLARGED = 1.25


def find_people(read: Sequence[Labelled]) -> tuple[list[int], list[str]]:
    """Who the photographs are of.

    Args:
        read: the photographs, of any data sets.

    Returns:
        For each photograph the number of the first one of that person: as the names of
        a data set tell, or where two look like one eye; and which look so, in words.

    Raises:
        InputError: a photograph is there twice.
    """
    people, notes = list(range(len(read))), []
    for second, other in enumerate(read):
        for first, mine in enumerate(read[:second]):
            if mine.identity.is_same(other.identity):
                raise InputError(
                    "expected each photograph once, received one as "
                    f"{mine.case.image} and {other.case.image}: remove one"
                )
            alike = mine.identity.looks_like(other.identity)
            if alike:
                names = f"{mine.case.name} and {other.case.name}"
                notes.append(f"{names} look like one eye: one is not held out alone")
            if alike or mine.case.person == other.case.person:
                people = _merged(people, people[first], people[second])
    return people, notes


def _merged(people: list[int], one: int, other: int) -> list[int]:
    return [min(one, other) if each in (one, other) else each for each in people]


def split(people: Sequence[int], recipe: Recipe) -> tuple[list[int], list[int]]:
    """Which photographs are learnt from, and which are held out: never one person's in
    both.

    Args:
        people: for each photograph a number of its person.
        recipe: says how many are held out, or which fold.

    Returns:
        Numbers of photographs, ascending.

    Raises:
        InputError: there are too few photographs for that.
    """
    different = list(dict.fromkeys(people))
    if recipe.folds:
        if recipe.folds < 2 or recipe.folds > len(different):
            raise InputError(
                f"expected 2 to {len(different)} folds, as there are photographs of "
                f"{len(different)} people, received --folds {recipe.folds}"
            )
        chosen = set(different[recipe.fold :: recipe.folds])
    else:
        step = len(people) / max(recipe.validation, 1)
        chosen = {people[int(step * index)] for index in range(recipe.validation)}
        if recipe.validation >= len(people) or chosen == set(people):
            raise InputError(
                f"expected to hold out 0 to {len(different) - 1} of {len(people)} "
                f"photographs, received --validation {recipe.validation}"
            )
    numbers = range(len(people))
    learnt = [number for number in numbers if people[number] not in chosen]
    return learnt, [number for number in numbers if people[number] in chosen]


def field_diameter(one: Labelled) -> float:
    """Diameter of the field of view, pixels: of the data set's own where the photograph
    shows no rim."""
    field = estimate_field_of_view(one.pixels)
    if not field.round:
        field = given_field_of_view(one.inside)
    return field.diameter


def require_one_scale(diameters: Iterable[float]) -> None:
    """Raises an InputError where fields of view differ more than zooms make up for."""
    low, *_, high = sorted(diameters)
    if high > MOST_ENLARGED * low:
        raise InputError(
            "expected data sets whose fields of view have one diameter in pixels, "
            f"received {low:.0f} to {high:.0f}: add --preset cameras, which learns at "
            "several scales"
        )


def shown_diameter(learnt: Sequence[Labelled], recipe: Recipe) -> float:
    """Of the field of view, pixels, at which photographs are shown to the network."""
    if recipe.shown_diameter:
        return recipe.shown_diameter
    return statistics.median(map(field_diameter, learnt))


def require_unseen(validation: Sequence[Labelled], start: Path) -> None:
    """Raises an InputError where a photograph held out is one that the network to start
    from has seen: it would score too well."""
    record = networks.read_record(start)
    for each in validation:
        known = networks.role_of(each.identity, record) != "unseen"
        if known or networks.likely_copies(each.identity, record):
            raise InputError(
                f"expected to hold out photographs that {start} has not seen, but it "
                f"learnt from {each.case.name} or cannot tell: hold out none with "
                "--validation 0, or start from another network"
            )


def require_known_scale(
    learnt: Sequence[Labelled], recipe: Recipe, start: Path
) -> None:
    """Raises an InputError where fields of view are shown far smaller or larger than
    the network to start from has seen them."""
    diameter = shown_diameter(learnt, recipe)
    record = networks.read_record(start)
    low, high = (record.field_diameter * record.factors[end] for end in (0, -1))
    if not low / MOST_ENLARGED <= diameter <= high * MOST_ENLARGED:
        raise InputError(
            f"expected fields of view {low:.0f} to {high:.0f} pixels wide, as {start} "
            f"is shown, received {diameter:.0f}: add --preset cameras, which resamples"
        )


def at_diameters(
    one: Labelled, diameters: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A photograph, resampled so that its field of view has these diameters.

    Args:
        one: the photograph with its label.
        diameters: pixels; those above 1.25 times its own are left out, but for the
            smallest. Empty: its own.

    Yields:
        The image (H, W, 3) float32, 0..1; its label (H, W) float32, the share of each
        pixel that is vessel; and its field of view (H, W) bool.
    """
    own = field_diameter(one)
    for diameter in diameters or [own]:
        scale = unless_near(diameter / own)
        if scale > MOST_ENLARGED and diameter > min(diameters):
            continue
        planes = [as_image(one.pixels), one.label, one.inside]
        if scale != 1:
            height, width = (round(scale * side) for side in one.label.shape)
            planes = [resample(plane, height, width) for plane in planes]
        image, label, inside = (np.clip(p.astype(np.float32), 0, 1) for p in planes)
        yield image, label, inside > 0.5


def shown_scales(one: Labelled, recipe: Recipe) -> list[float]:
    """By how much a photograph is resampled, each time, where a network of this recipe
    predicts it."""
    scale = 1.0  # it learns photographs at their own scale, and is shown them so
    if recipe.shown_diameter:
        scale = unless_near(recipe.shown_diameter / field_diameter(one))
    return [scale * factor for factor in recipe.factors]
