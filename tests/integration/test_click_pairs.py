"""Training pairs from clicks, with the real Postgres and the real object store."""

import json
import time
from datetime import datetime, timedelta

import psycopg
import pytest

from tests.eventually import eventually_sync
from tests.pictures import jpeg
from training import click_pairs
from visualsearch.domain.errors import Unavailable

WRITTEN_S = 15
"""Searches, clicks and pictures are written a moment after they are answered."""


@pytest.mark.stack
async def test_a_click_becomes_a_pair_of_pictures_with_its_box(api, demo_stack, tmp_path):
    query = jpeg(time.time_ns() % 2**31, 320, 240)  # no other run has asked with the same
    found = api.post("/search", files={"image": query}, data={"bbox": "10,20,200,180", "k": 3, "user_id": 5}).json()
    asked, clicked = found["query_image_id"], found["results"][1]
    body = {"user_id": 5, "query_image_id": asked, "displayed_image_id": clicked["id"], "rank": 2}
    for _ in range(2):
        assert api.post("/click", json=body).status_code == 204

    def written():
        pairs, _ = click_pairs.export(demo_stack, tmp_path, datetime.now() - timedelta(hours=1))
        lines = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
        assert len(lines) == pairs
        mine = next((line for line in lines if (tmp_path / line["query"]).read_bytes() == query), None)
        assert mine, lines
        assert mine["clicks"] == 2
        return mine

    mine = eventually_sync(written, WRITTEN_S, errors=AssertionError)
    assert mine["box"] == "10,20,200,180"
    assert (tmp_path / mine["positive"]).read_bytes() == api.get(f"/images/{clicked['id']}/content").content
    nothing, _ = click_pairs.export(demo_stack, tmp_path, datetime.now() + timedelta(days=1))
    assert nothing == 0


def test_a_server_that_is_down_is_named_in_one_sentence(tmp_path, monkeypatch, capsys):
    def away(*_, **__):
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", away)
    assert click_pairs.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("Postgres")
    with pytest.raises(Unavailable):
        click_pairs.export(click_pairs.Settings(), tmp_path, datetime.now())
