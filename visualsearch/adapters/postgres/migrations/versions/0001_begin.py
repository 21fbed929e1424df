"""Create images, hashes, interactions, queries, deletions, dead letters and releases."""

from alembic import op

revision = "0001"
down_revision = None

UP = """
CREATE TABLE images (
  id BIGSERIAL PRIMARY KEY,
  uri TEXT UNIQUE NOT NULL,
  width INT,
  height INT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'indexed', 'rejected')),
  reason TEXT,
  content_hash BYTEA,
  source TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL DEFAULT '',
  visibility TEXT NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private')),
  promised_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  indexed_at TIMESTAMPTZ,
  release TEXT
);
CREATE INDEX images_waiting ON images (promised_at) WHERE status = 'pending';
CREATE INDEX images_status ON images (status);

CREATE TABLE image_hash (
  image_id BIGINT PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
  phash BYTEA NOT NULL
);

CREATE TABLE interactions (
  user_id BIGINT,
  query_image_id BIGINT NOT NULL,
  displayed_image_id BIGINT NOT NULL,
  rank INT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('impression', 'click')),
  ts TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX interactions_query ON interactions (query_image_id);
CREATE INDEX interactions_ts ON interactions USING brin (ts);

-- A query has its id from the sequence of the images, so that the two never meet.
CREATE TABLE queries (
  id BIGINT PRIMARY KEY,
  release TEXT NOT NULL,
  user_id BIGINT,
  box TEXT NOT NULL DEFAULT '',
  blob_key TEXT NOT NULL DEFAULT '',
  asked_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Tombstones: done once vector and object are gone too.
CREATE TABLE deletions (
  image_id BIGINT PRIMARY KEY,
  uri TEXT NOT NULL,
  done BOOLEAN NOT NULL DEFAULT false,
  deleted_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX deletions_uri ON deletions (uri);
CREATE INDEX deletions_unfinished ON deletions (deleted_at) WHERE NOT done;

CREATE TABLE dead_letters (
  entry_id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  uri TEXT NOT NULL,
  image_id BIGINT,
  reason TEXT NOT NULL,
  deliveries INT NOT NULL,
  died_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE not_duplicates (
  low_id BIGINT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  high_id BIGINT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  marked_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  PRIMARY KEY (low_id, high_id),
  CHECK (low_id < high_id)
);

CREATE TABLE releases (
  name TEXT PRIMARY KEY,
  model_version INT NOT NULL,
  fingerprint TEXT NOT NULL,
  collection TEXT NOT NULL,
  profile TEXT NOT NULL,
  search_params JSONB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('building', 'ready', 'canary', 'live', 'retired')),
  since TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX releases_one_live ON releases (state) WHERE state = 'live';
"""


def upgrade() -> None:
    """Create the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Drop the schema."""
    op.execute(
        "DROP TABLE releases, not_duplicates, dead_letters, deletions, queries, interactions, image_hash, images"
    )
