"""Releases in memory."""

from datetime import UTC, datetime

from tests.fakes.image_repository import FakeImages
from tests.fakes.release_repository import FakeReleases
from visualsearch.domain.release_state import Canary, Check, Evaluation
from visualsearch.domain.releases import Release, ReleaseState
from visualsearch.releases.lifecycle import Lifecycle

OLD = Release("v1", 1, "a" * 64, "images_v1", "hnsw")
NEW = Release("v2", 2, "b" * 64, "images_v2", "hnsw")
RAMP = Canary((1.0, 2.0, 5.0), 60.0, 100)


def verdict(passed=True, against="v1"):
    return Evaluation(datetime.now(UTC), against, (Check("ndcg@10", 0.6 if passed else 0.1, ">= 0.5", passed),))


class Shop:
    """One live release, and a lifecycle that moves others."""

    def __init__(self, log=None):
        self.image_repository = FakeImages()
        self.log = log or FakeReleases(self.image_repository)
        self.lifecycle = Lifecycle(self.log, "ada")

    async def open(self):
        await self.log.add(OLD, ReleaseState.LIVE)
        return self

    async def ready(self, release=NEW, against="v1"):
        await self.lifecycle.begin(release)
        await self.lifecycle.ready(release.name)
        await self.lifecycle.evaluated(release.name, verdict(against=against))

    async def states(self):
        return {one.release.name: one.state for one in await self.log.records()}

    async def standing(self, name="v2"):
        return next(one for one in await self.log.records() if one.release.name == name)

    async def actions(self, name="v2"):
        return [one.action for one in reversed(await self.log.history(name, 100))]
