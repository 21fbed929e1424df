"""Add entity tags, positions in change logs, counts of differences, and the progress of builds."""

from alembic import op

revision = "0002"
down_revision = "0001"

UP = """
-- Bytewise, so that a program can merge its own sorted list of uris with this column.
ALTER TABLE images ALTER COLUMN uri TYPE TEXT COLLATE "C";
-- Entity tag of the object that the row speaks of; empty where nobody has said it.
ALTER TABLE images ADD COLUMN etag TEXT NOT NULL DEFAULT '';

-- Up to which id a release's collection was built, and how many images that were and will be.
ALTER TABLE releases ADD COLUMN built_to BIGINT NOT NULL DEFAULT 0;
ALTER TABLE releases ADD COLUMN built BIGINT NOT NULL DEFAULT 0;
ALTER TABLE releases ADD COLUMN to_build BIGINT NOT NULL DEFAULT 0;

CREATE TABLE positions (
  log TEXT PRIMARY KEY,
  at_ns BIGINT NOT NULL
);

-- What the last reconciliation counted.
CREATE TABLE differences (
  release TEXT NOT NULL,
  kind TEXT NOT NULL,
  number BIGINT NOT NULL,
  counted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  PRIMARY KEY (release, kind)
);
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute(
        """DROP TABLE differences, positions;
        ALTER TABLE releases DROP COLUMN built_to, DROP COLUMN built, DROP COLUMN to_build;
        ALTER TABLE images DROP COLUMN etag;
        ALTER TABLE images ALTER COLUMN uri TYPE TEXT COLLATE "default";"""
    )
