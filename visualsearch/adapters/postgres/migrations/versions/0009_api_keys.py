"""Add API keys."""

from alembic import op

revision = "0009"
down_revision = "0008"

UP = """
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL CHECK (owner <> ''),
  scopes TEXT[] NOT NULL CHECK (scopes <> '{}' AND scopes <@ ARRAY['search', 'ingest', 'admin']),
  -- SHA-256 of the key. A key holds 256 random bits, so it needs neither salt nor a slow hash.
  digest BYTEA NOT NULL CHECK (length(digest) = 32),
  note TEXT NOT NULL DEFAULT '',
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  expires_at TIMESTAMPTZ,
  last_used_at TIMESTAMPTZ,
  revoked_at TIMESTAMPTZ
);

-- One row. Gateways read it every few seconds, and the keys only after it has changed. The trigger makes that true of
-- what an administrator does by hand as well.
CREATE TABLE api_key_changes (only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row), version BIGINT NOT NULL);
INSERT INTO api_key_changes (version) VALUES (0);

CREATE FUNCTION count_api_key_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  UPDATE api_key_changes SET version = version + 1;
  RETURN NULL;
END $$;

CREATE TRIGGER api_key_change AFTER INSERT OR DELETE OR TRUNCATE
  OR UPDATE OF id, owner, scopes, digest, expires_at, revoked_at
  ON api_keys FOR EACH STATEMENT EXECUTE FUNCTION count_api_key_change();
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("DROP TABLE api_keys; DROP TABLE api_key_changes; DROP FUNCTION count_api_key_change")
