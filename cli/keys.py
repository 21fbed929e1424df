"""`visualsearch keys`: the API keys of the gateway's callers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.connections import operator, with_access
from cli.console import err, out, print_json
from cli.durations import duration
from cli.tables import keys_table
from visualsearch.audit import audited
from visualsearch.domain.access import ApiKey, KeyText, new_key, scopes_of
from visualsearch.domain.audit import Action

if TYPE_CHECKING:
    from visualsearch.ports import ApiKeyRepository, AuditLog

app = typer.Typer(no_args_is_help=True, help=__doc__)

EFFECTIVE = "Every gateway knows it within 5 s."

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id; `keys list` shows it.")]
Expiry = Annotated[
    str, typer.Option(metavar="TIME", help="When the key ends, from now on: 12h, 90d. Never if left out.")
]


@app.command("create")
def create_command(
    owner: Annotated[str, typer.Argument(help="Whose key it is. Pictures belong to the owner of the key.")],
    *,
    scope: Annotated[
        list[str], typer.Option(help="search, ingest or admin, which includes the others; can be repeated.")
    ],
    expires_in: Expiry = "",
    note: Annotated[str, typer.Option(help="What the key is for.")] = "",
    json: Json = False,
) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    text = KeyText.make()
    key = new_key(text, owner, scopes_of(scope), _moment(expires_in), note)
    subject = f"key {key.id} of {owner} for {' and '.join(sorted(key.scopes))}"

    async def work(api_keys: ApiKeyRepository, audit_log: AuditLog) -> None:
        async with audited(audit_log, operator(), Action.CREATE_KEY, subject):
            await api_keys.add(key)

    with_access(work)
    _print_secret(key, text, json=json)


@app.command("list")
def list_command(
    *,
    owner: Annotated[str, typer.Option(help="Only the keys of this owner.")] = "",
    json: Json = False,
) -> None:
    """List all keys, expired and revoked ones too. The keys themselves cannot be shown."""
    keys = with_access(lambda api_keys, _: api_keys.everything())
    keys = [key for key in keys if not owner or key.owner == owner]
    if json:
        print_json([_described(key) for key in keys])
    else:
        out.print(keys_table(keys, datetime.now(UTC)))


@app.command("revoke")
def revoke_command(key_id: KeyId, *, json: Json = False) -> None:
    """End a key."""

    async def work(api_keys: ApiKeyRepository, audit_log: AuditLog) -> ApiKey:
        async with audited(audit_log, operator(), Action.REVOKE_KEY, f"key {key_id}"):
            return await api_keys.revoke(key_id)

    key = with_access(work)
    if json:
        print_json(_described(key))
    else:
        out.print(f"The key {key.id} of {key.owner} is revoked. {EFFECTIVE}", highlight=False, markup=False)


@app.command("rotate")
def rotate_command(
    key_id: KeyId,
    *,
    overlap: Annotated[str, typer.Option(metavar="TIME", help="How long the old key still works: 1h, 7d.")] = "0s",
    expires_in: Expiry = "",
    json: Json = False,
) -> None:
    """Replace a key by a new one with the same owner, scopes and note, and print that one, this once.

    Unless --expires-in says otherwise, the new key lives as long as the old one was meant to.
    """
    text, ending, expiry = KeyText.make(), duration(overlap), _moment(expires_in)

    async def work(api_keys: ApiKeyRepository, audit_log: AuditLog) -> tuple[ApiKey, ApiKey]:
        async with audited(audit_log, operator(), Action.ROTATE_KEY, f"key {key_id}, now {text.id}"):
            return await api_keys.rotate(key_id, text, expiry, ending)

    old, new = with_access(work)
    _print_secret(new, text, json=json)
    if not json:
        err.print(f"The old key {old.id} ends at {old.expires_at:%F %T %Z}.", highlight=False)


def _print_secret(key: ApiKey, text: KeyText, *, json: bool) -> None:
    """Print a new key: the key itself on standard output, what to know of it beside that."""
    if json:
        print_json(_described(key) | {"key": text.text})
        return
    out.print(text.text, highlight=False, soft_wrap=True)
    scopes = " and ".join(sorted(key.scopes))
    err.print(
        f"The key of {key.owner} for {scopes}, id {key.id}. It is not shown again. {EFFECTIVE}\n"
        "From the first key on, the gateway requires one of every caller. The client commands send the key in "
        "VISUALSEARCH_API_KEY.",
        highlight=False,
        markup=False,
    )


def _described(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "state": key.state(datetime.now(UTC)),
        "note": key.note,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


def _moment(from_now: str) -> datetime | None:
    return datetime.now(UTC) + duration(from_now) if from_now else None
