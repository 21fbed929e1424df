"""Add experiments with their variants and buckets."""

from alembic import op

revision = "0007"
down_revision = "0006"

UP = """
CREATE TABLE experiments (
  name TEXT PRIMARY KEY,
  layer TEXT NOT NULL,
  variants JSONB NOT NULL,
  share DOUBLE PRECISION NOT NULL CHECK (share > 0 AND share <= 1),
  expected_lift DOUBLE PRECISION NOT NULL CHECK (expected_lift > 0),
  state TEXT NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'running', 'stopped')),
  first_bucket INT NOT NULL DEFAULT 0,
  end_bucket INT NOT NULL DEFAULT 0,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  started_at TIMESTAMPTZ,
  stopped_at TIMESTAMPTZ
);

-- One start at a time, so that no two experiments take the same buckets.
CREATE FUNCTION start_experiment(wanted TEXT, first INT, past INT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7461927);
  UPDATE experiments AS mine SET state = 'running', started_at = now(), first_bucket = first, end_bucket = past
  WHERE name = wanted AND state = 'draft' AND NOT EXISTS (
    SELECT 1 FROM experiments AS other WHERE other.state = 'running' AND other.layer = mine.layer
    AND other.first_bucket < past AND other.end_bucket > first);
  RETURN FOUND;
END $$;
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("DROP FUNCTION start_experiment; DROP TABLE experiments")
