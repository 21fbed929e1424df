"""Contract of the interaction repository, tested with the fake and Postgres; and its partitions by day in Postgres."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.interaction_repository import FakeInteractions
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.adapters.postgres.interaction_repository import PostgresInteractions
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import NewImage, Visibility
from visualsearch.domain.interactions import Click, Search, WriteResult

ADA = 2**63 - 1
DAY = timedelta(days=1)


@pytest.fixture
def server(postgres_server):
    return postgres_server


@pytest.fixture
async def postgres(server, database):
    image_repository = PostgresImages(Database(*database, 5.0))
    interaction_repository = PostgresInteractions(image_repository.database)
    interaction_repository.image_repository = image_repository
    yield interaction_repository
    await image_repository.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def interaction_repository(request):
    return FakeInteractions() if request.param == "fake" else request.getfixturevalue("postgres")


def rows(server, what="user_id, query_image_id, displayed_image_id, rank, type"):
    return server.execute(f"SELECT {what} FROM interactions ORDER BY ts, type DESC, rank").fetchall()


async def test_an_interaction_that_is_delivered_twice_is_written_once(interaction_repository):
    interactions = [Search(5, "v1", (3, 2)), Click(5, 3, 1), Click(5, 3, 1)]
    assert await interaction_repository.write([]) == WriteResult()
    assert await interaction_repository.write(interactions[:2]) == WriteResult(2)
    assert await interaction_repository.write(interactions) == WriteResult(1)
    assert await interaction_repository.write(interactions) == WriteResult()


async def test_an_interaction_that_cannot_be_stored_is_refused(interaction_repository):
    with pytest.raises(InvalidInput):
        await interaction_repository.write([Search(2**63, "v1", (1,))])


async def test_an_unchecked_click_on_an_unknown_search_or_image_is_dropped(interaction_repository):
    assert await interaction_repository.write([Click(2**62, 2**61, 1, checked=False)]) == WriteResult(1, 1)


async def test_creating_partitions_can_be_repeated(interaction_repository):
    assert await interaction_repository.keep(90) == []
    assert await interaction_repository.keep(90) == []


@pytest.mark.stack
async def test_impressions_and_clicks_have_the_documented_columns(postgres, server):
    await postgres.write([Search(5, "v1", (3, 2), ADA, True, "1,2,3,4", "queries/5"), Click(5, 2, 2, ADA)])
    assert rows(server) == [
        (ADA, 5, 3, 1, "impression"),
        (ADA, 5, 2, 2, "impression"),
        (ADA, 5, 2, 2, "click"),
    ]
    assert server.execute("SELECT id, release, user_id, box, blob_key FROM queries").fetchall() == [
        (5, "v1", ADA, "1,2,3,4", "queries/5")
    ]


@pytest.mark.stack
async def test_a_search_with_an_image_of_the_corpus_is_no_query_with_a_picture(postgres, server):
    await postgres.write([Search(5, "v1", (3,))])
    await postgres.write([Search(5, "v1", (3,))])
    assert rows(server) == [(None, 5, 3, 1, "impression")] * 2
    assert server.execute("SELECT count(*) FROM queries").fetchone() == (0,)


@pytest.mark.stack
async def test_a_click_has_the_variants_of_its_own_search(postgres, server):
    mine, theirs = Search(5, "v1", (3,), 1, variants={"x": "a"}), Search(5, "v1", (3,), 2, variants={"x": "b"})
    await postgres.write([mine, theirs])
    await postgres.write([Click(5, 3, 1, 1), Click(5, 3, 1, 2), Click(6, 3, 1, 1)])
    found = server.execute("SELECT user_id, variants FROM interactions WHERE type = 'click' ORDER BY 1, 2").fetchall()
    assert found == [(1, {"x": "a"}), (1, None), (2, {"x": "b"})]


@pytest.mark.stack
async def test_an_unchecked_click_on_an_existing_search_and_image_is_written(postgres, server):
    image = await postgres.image_repository.register(NewImage("s3://images/a"))
    (query,) = await postgres.image_repository.allocate_query_ids(1)
    assert await postgres.write([Click(query, image.id, 1, checked=False)]) == WriteResult(1)
    assert rows(server) == [(None, query, image.id, 1, "click")]


@pytest.mark.stack
@pytest.mark.parametrize(
    ("clicker", "counts"),
    [("ada", {"hers", "public", "her private"}), ("bob", {"public"}), ("", {"hers", "public", "her private"})],
)
async def test_an_unchecked_click_counts_on_ones_own_searches_and_on_images_one_sees(postgres, clicker, counts):
    images = postgres.image_repository
    public = await images.register(NewImage("s3://images/a", owner="ada"))
    private = await images.register(NewImage("s3://images/b", owner="ada", visibility=Visibility.PRIVATE))
    (query,) = await images.allocate_query_ids(1)
    await postgres.write([Search(query, "v1", (public.id,), picture=True, owner="ada")])
    queries = {"hers": (query, public.id), "public": (public.id, public.id), "her private": (private.id, public.id)}
    for what, (asked, shown) in queries.items():
        click = Click(asked, shown, 1, checked=False, owner=clicker)
        assert await postgres.write([click]) == WriteResult(1, int(what not in counts)), what
    hidden = Click(public.id, private.id, 1, checked=False, owner=clicker)
    assert await postgres.write([hidden]) == WriteResult(1, int(clicker == "bob"))


@pytest.mark.stack
async def test_concurrent_writers_write_each_interaction_once(postgres, server):
    interactions = [Search(number, "v1", tuple(range(1, 51))) for number in range(1, 41)]
    done = await asyncio.gather(*(postgres.write(interactions) for _ in range(4)))
    assert sum(one.new for one in done) == 40
    assert len(rows(server)) == 2000


@pytest.mark.stack
async def test_a_new_partition_takes_over_the_earlier_rows_of_its_day(postgres, server):
    at = datetime.now(UTC) + DAY
    server.execute("DROP TABLE IF EXISTS " + ", ".join(f"{name}_{at:%Y%m%d}" for name in ("interactions", "spooled")))
    await postgres.write([Search(5, "v1", (3, 2), at=at)])
    assert server.execute("SELECT count(*) FROM interactions_default").fetchone() == (2,)
    await postgres.keep(90)
    assert server.execute("SELECT count(*) FROM interactions_default").fetchone() == (0,)
    assert server.execute(f"SELECT count(*) FROM interactions_{at:%Y%m%d}").fetchone() == (2,)


@pytest.mark.stack
async def test_only_expired_days_are_dropped_from_every_table(postgres, server):
    now = datetime.now(UTC)
    for age in (0, 9, 10, 11, 12):
        day = (now - age * DAY).date()
        for table, column in {"interactions": "ts", "queries": "asked_at"}.items():
            if age != 12:  # that day has no partition of its own
                server.execute("SELECT add_day(%s, %s, %s)", [table, column, day])
        await postgres.write([Search(age + 1, "v1", (3,), picture=True, at=now - age * DAY)])
    dropped = await postgres.keep(10)
    assert dropped == [f"{name}_{now - 11 * DAY:%Y%m%d}" for name in ("interactions", "queries")]
    for query in ("SELECT query_image_id - 1 FROM interactions", "SELECT id - 1 FROM queries"):
        assert {age for (age,) in server.execute(query)} == {0, 9, 10}


@pytest.mark.stack
async def test_rows_from_before_the_migration_are_partitioned_by_day(stack, database, server, postgres):
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.engine import make_url

    import visualsearch.adapters.postgres.migrations as migrations

    dsn, password = database
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    config.attributes["url"] = make_url(dsn).set(drivername="postgresql+psycopg", password=password)
    await postgres.write([Search(5, "v1", (3,), picture=True), Click(5, 3, 1)])
    command.downgrade(config, "0002")
    assert len(rows(server)) == 2
    command.upgrade(config, "head")
    await postgres.keep(90)
    assert len(rows(server)) == 2
    assert server.execute("SELECT count(*) FROM queries").fetchone() == (1,)
    assert server.execute("SELECT count(*) FROM interactions_default").fetchone() == (0,)
