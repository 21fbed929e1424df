"""The numbered hostile files: file n of a seed is always the same, with the same version of Pillow."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from random import Random

from tests.fuzz.pictures import binary_changes, crafted, format_changes, seeds
from tests.fuzz.pictures.byte_changes import BYTES
from tests.fuzz.pictures.formats import kind_of

STRUCTURAL = 0.7
"""Share of the changes that know the format; the others change bytes anywhere."""
FOREIGN = 0.05
"""Share of the files that begin with a picture of another format, or an animation."""
STRUCTURES = format_changes.STRUCTURES | binary_changes.STRUCTURES
CRAFTED = crafted.FILES + crafted.BOMBS
CHANGES = (1, 1, 2, 4)
"""How many changes a file has."""


@dataclass(frozen=True)
class HostileFile:
    """A file, and how it was made. ``status`` is the answer that it must get if it is crafted; None: any refusal."""

    name: str
    data: bytes
    status: tuple[int, ...] = ()


def numbers(files: int, *, quick: bool = False) -> Iterator[int]:
    """The numbers of the first files of a seed; ``quick`` leaves out the bombs."""
    if not quick:
        return iter(range(files))
    ordinary = len(crafted.FILES)
    return chain(range(min(files, ordinary)), range(len(CRAFTED), len(CRAFTED) + files - ordinary))


def hostile_file(seed: int, number: int) -> HostileFile:
    """File ``number`` of a seed: the crafted ones come first."""
    if number < len(CRAFTED):
        name, make, status = CRAFTED[number]
        return HostileFile(name, make(), status)
    return mutated(Random(f"{seed}/{number}"))


def mutated(random: Random) -> HostileFile:
    """A picture after one to ``MOST`` changes."""
    pictures = seeds.foreign() if random.random() < FOREIGN else seeds.sound()
    name = random.choice(sorted(pictures))
    data, done = pictures[name], []
    for _ in range(random.choice(CHANGES)):
        known = STRUCTURES.get(kind_of(data))
        change = random.choice(known if known and random.random() < STRUCTURAL else BYTES)
        try:
            data = change(random, data)
        except (IndexError, ValueError, StopIteration, struct.error, zlib.error):  # too little of the format is left
            continue
        done.append(change.__name__.strip("_"))
    return HostileFile(f"{name}: {', '.join(done)}", data)
