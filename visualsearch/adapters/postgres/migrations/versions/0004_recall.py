"""Add samples of the recall of each release."""

from alembic import op

revision = "0004"
down_revision = "0003"

UP = """
-- Sums over sampled queries; see gateway/search/recall_monitor.py. Kept for a day.
CREATE TABLE recall_samples (
  release TEXT NOT NULL,
  hits INT NOT NULL,
  expected INT NOT NULL,
  queries INT NOT NULL,
  at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX recall_samples_at ON recall_samples (at);
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("DROP TABLE recall_samples")
