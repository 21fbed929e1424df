"""Index queries by time, because the canary monitor counts those of the last minutes."""

from alembic import op

revision = "0008"
down_revision = "0007"

UP = "CREATE INDEX queries_asked_at ON queries USING brin (asked_at) WITH (autosummarize = on)"


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("DROP INDEX queries_asked_at")
