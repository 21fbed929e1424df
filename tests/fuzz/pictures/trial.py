"""Tries one file in the decoding layer, as the gateway and the indexer use it, and says what is wrong."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from gateway.api.problem_details import status_of
from tests.fuzz.pictures.corpus import HostileFile
from tests.fuzz.pictures.formats import kind_of
from tests.fuzz.pictures.statuses import ACCEPTED
from visualsearch.domain.errors import Overloaded, VisualSearchError
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.imaging.decoding_cost import TooExpensiveHere
from visualsearch.imaging.formats.table import content_type
from visualsearch.imaging.opening import cheaply
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.imaging.preprocessing import decode, dimensions, prepare, thumbnail

PATIENCE = 10
"""How often a picture is tried that a busy machine does not decode in time."""
BLOCKS_S = 1.5
"""CPU time of a picture that is decoded in a thread. It is judged to be cheap, and holds a core of the gateway."""
TOO_MUCH_BYTES = 500 * 2**20
"""By how much a picture that is decoded in a thread may raise the peak of the process."""
THUMBNAIL = 256
USES = {"decode": (decode,), "prepare": (prepare,), "thumbnail": (thumbnail, THUMBNAIL), "dimensions": (dimensions,)}


@dataclass
class Verdict:
    """What a file did: the status of its answer, the time and CPU of the slowest use, and every fault."""

    name: str
    kind: str
    status: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    apart: bool = False
    reason: str = ""
    faults: list[str] = field(default_factory=list)


async def judged(pool: PicturePool, file: HostileFile) -> Verdict:
    """Use a file in every way, and compare the results."""
    verdict = Verdict(file.name, kind_of(file.data), apart=is_expensive(file.data))
    before, results = peak(), {}
    for name, (work, *values) in USES.items():
        results[name] = await used(pool, verdict, work, file.data, *values)
    risen = peak() - before
    verdict.status = status(results["decode"])
    verdict.reason = str(results["decode"]) if isinstance(results["decode"], Exception) else ""
    limits = {
        f"takes {verdict.cpu_s:.1f} s of CPU in this process": verdict.cpu_s > BLOCKS_S,
        f"takes {risen / 2**20:.0f} MB in this process": risen > TOO_MUCH_BYTES,
    }
    verdict.faults += [text for text, exceeded in limits.items() if exceeded]
    verdict.faults += list(wrong_answers(file, verdict, results))
    if verdict.status in ACCEPTED:
        verdict.faults += await contradictions(pool, file, verdict, results)
    return verdict


def is_expensive(data: bytes) -> bool:
    """Whether the pool decodes a file in its process."""
    try:
        cheaply(dimensions, data)
    except TooExpensiveHere:
        return True
    except VisualSearchError:
        return False
    return False


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def used(pool: PicturePool, verdict: Verdict, work: Callable[..., Any], *values: object) -> Any:
    """Return what work gives, or the error that it raises; remember how long it took."""
    for _ in range(PATIENCE):
        begun, cpu = time.monotonic(), time.process_time()
        try:
            return await pool.run(work, *values)
        except Overloaded:
            continue
        except VisualSearchError as error:
            return error
        except Exception as error:
            verdict.faults.append(f"{work.__name__} raises {error!r}")
            return error
        finally:
            verdict.seconds = max(verdict.seconds, time.monotonic() - begun)
            verdict.cpu_s = max(verdict.cpu_s, time.process_time() - cpu)
    return Overloaded("The machine is too busy all the time.")


def status(result: object) -> int:
    """The HTTP status that a result becomes."""
    if isinstance(result, VisualSearchError):
        return status_of(result)
    return 500 if isinstance(result, Exception) else 200


def wrong_answers(file: HostileFile, verdict: Verdict, results: dict[str, Any]) -> list[str]:
    """What is wrong with the statuses and reasons of a file."""
    got = {name: status(result) for name, result in results.items() if name != "dimensions"}
    wrong = []
    if len(set(got.values())) > 1:
        wrong.append(f"answers differ: {got}")
    if file.status and verdict.status not in file.status:
        wrong.append(f"answers {verdict.status}, not one of {file.status}: {verdict.reason}")
    too_long = len(file.data) > MAX_UPLOAD_BYTES
    # A picture of an unusual coding is refused as what it is, too.
    named = verdict.status == 415 and "which is not accepted" in verdict.reason
    if file.data and (verdict.kind == "other") != (verdict.status == 415) and not (named or too_long):
        wrong.append(f"answers {verdict.status} to a file of the kind {verdict.kind}")
    if verdict.status not in ACCEPTED and len(verdict.reason) < 20:
        wrong.append(f"does not say what to do: {verdict.reason!r}")
    return wrong


async def contradictions(pool: PicturePool, file: HostileFile, verdict: Verdict, results: dict[str, Any]) -> list[str]:
    """What does not fit together of a picture that is accepted."""
    decoded, prepared, small, size = (results[name] for name in USES)
    again = await used(pool, verdict, decode, file.data)
    checks = {
        "decodes differently each time": status(again) in ACCEPTED and np.array_equal(decoded.pixels, again.pixels),
        "is prepared otherwise than decoded": np.array_equal(decoded.pixels, prepared.pixels),
        f"has another size than its header: {size}": size == (decoded.width, decoded.height),
        "has another type than its signature": content_type(file.data) == f"image/{verdict.kind.lower()}",
    }
    faults = [text for text, fine in checks.items() if not fine]
    with Image.open(BytesIO(small)) as opened:
        if opened.format != "JPEG" or opened.info.keys() & {"exif", "icc_profile", "xmp", "comment"}:
            faults.append(f"has a thumbnail of {opened.format} with {sorted(opened.info)}")
    return faults
