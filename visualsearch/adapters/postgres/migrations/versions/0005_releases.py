"""Add the history of releases; canaries, shadow traffic, jobs and evaluations."""

from alembic import op

revision = "0005"
down_revision = "0004"

UP = """
ALTER TABLE releases ADD COLUMN canary JSONB;
ALTER TABLE releases ADD COLUMN shadow DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE releases ADD COLUMN job TEXT NOT NULL DEFAULT '';
ALTER TABLE releases ADD COLUMN evaluation JSONB;
ALTER TABLE releases ADD COLUMN note TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX releases_one_canary ON releases (state) WHERE state = 'canary';

CREATE TABLE release_history (
  id BIGSERIAL PRIMARY KEY,
  at TIMESTAMPTZ NOT NULL,
  release TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  -- The release that was live before, where this one became live.
  replaced TEXT NOT NULL DEFAULT '',
  evaluation JSONB
);
CREATE INDEX release_history_release ON release_history (release, id);
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute(
        """DROP TABLE release_history;
        DROP INDEX releases_one_canary;
        ALTER TABLE releases DROP COLUMN canary, DROP COLUMN shadow, DROP COLUMN job, DROP COLUMN evaluation,
          DROP COLUMN note;"""
    )
