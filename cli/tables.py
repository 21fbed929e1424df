"""What the command prints: tables, and the contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from cli.console import printable
from visualsearch.domain.search import MIN_SCORE
from visualsearch.imaging.contact_sheet import TILE, Tile, contact_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from visualsearch.client import Client
    from visualsearch.domain.access import ApiKey
    from visualsearch.domain.audit import AuditEntry
    from visualsearch.domain.images import Box
    from visualsearch.domain.indexing import DeadLetter

NOT_SET = {"name", "weight", "search_params"}
NUMBERS = {"rank", "score", "id", "size"}


def _table(*headings: str, caption: str = "") -> Table:
    table = Table(caption=caption or None)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left", overflow="fold")
    return table


def results_table(answer: dict[str, Any]) -> Table:
    """Show the answer of a search, with a line between good matches and the others."""
    enough = answer.get("suggested_min_score", MIN_SCORE)
    timings = ", ".join(f"{stage} {ms:.1f}" for stage, ms in answer["timings_ms"].items())
    caption = f"{answer['latency_ms']:.1f} ms ({timings}) by release {answer['release']}"
    good = [hit for hit in answer["results"] if hit["score"] >= enough]
    if len(good) < len(answer["results"]):
        caption += f"\nGood matches score {enough:.3f} or more."
    table = _table("rank", "score", "id", "uri", "size", "near-duplicates", caption=caption)
    for hit in answer["results"]:
        table.add_row(
            str(hit["rank"]),
            f"{hit['score']:.4f}",
            str(hit["id"]),
            hit["uri"],
            f"{hit['width']}x{hit['height']}",
            " ".join(map(str, hit["near_duplicates"])),
            end_section=hit["rank"] == len(good),
        )
    return table


def dead_letters_table(letters: Sequence[DeadLetter]) -> Table:
    """Show what was given up on, and why."""
    table = _table("entry", "died", "deliveries", "uri", "reason")
    for letter in letters:
        died = f"{letter.died_at:%F %T}"
        uri, reason = escape(printable(letter.event.uri)), escape(printable(letter.reason))
        table.add_row(letter.entry_id, died, str(letter.deliveries), uri, reason)
    return table


def images_table(images: Sequence[dict[str, Any]]) -> Table:
    """Show images as the gateway tells them."""
    table = _table("id", "uri", "size", "status", "source", "visibility", "since", "reason")
    for one in images:
        size = f"{one['width']}x{one['height']}" if one["width"] else ""
        since = one["created_at"][:19].replace("T", " ")
        texts = (str(one["id"]), one["uri"], size, one["status"], one["source"], one["visibility"], since)
        table.add_row(*map(escape, texts), escape(one["reason"] or ""))
    return table


def keys_table(keys: Sequence[ApiKey], now: datetime) -> Table:
    """Show API keys and their state at ``now``."""
    table = _table("id", "owner", "scopes", "state", "created", "expires", "last used", "note")
    for key in keys:
        times = [f"{at:%F %T}" if at else "" for at in (key.created_at, key.expires_at, key.last_used_at)]
        texts = (key.id, key.owner, " ".join(sorted(key.scopes)), key.state(now), *times, key.note)
        table.add_row(*map(escape, texts))
    return table


def audit_table(entries: Sequence[AuditEntry]) -> Table:
    """Show who did what, and how it ended."""
    table = _table("when", "who", "what", "on", "outcome", "request")
    for one in entries:
        texts = (f"{one.at:%F %T}", one.actor, one.action, one.subject, one.outcome or "unfinished", one.request_id)
        table.add_row(*map(escape, texts))
    return table


def experiments_table(experiments: Sequence[dict[str, Any]]) -> Table:
    """Show experiments as the gateway tells them: state, part of the layer, what each variant sets."""
    table = _table("name", "state", "layer", "share", "variants", "started", "stopped")
    for one in experiments:
        times = [(one[name] or "")[:19].replace("T", " ") for name in ("started_at", "stopped_at")]
        variants = "\n".join(map(_variant, one["variants"]))
        texts = (one["name"], one["state"], one["layer"], f"{one['share']:.0%}", variants, *times)
        table.add_row(*map(escape, texts))
    return table


def _variant(variant: dict[str, Any]) -> str:
    """Show a variant as the command takes it."""
    values = {**variant, **variant["search_params"]}
    sets = [f"{key}={value}" for key, value in values.items() if key not in NOT_SET and value is not None]
    weight = "" if variant["weight"] == 1 else f"@{variant['weight']}"
    return f"{variant['name']}{weight}" + (f":{','.join(sets)}" if sets else "")


def write_sheet(client: Client, file: Path, box: Box | None, answer: dict[str, Any], sheet: Path) -> None:
    """Draw a search's answer as a contact sheet into a PNG file."""
    tiles = [
        Tile(client.content(hit["id"], TILE), hit["rank"], hit["score"], len(hit["near_duplicates"]))
        for hit in answer["results"]
    ]
    title = f"{file.name}: {len(tiles)} most similar, {answer['latency_ms']:.0f} ms, release {answer['release']}"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(file, box, tiles, title).save(sheet)
