"""Keep the suggested lowest score of each release."""

from alembic import op

revision = "0015"
down_revision = "0013"


def upgrade() -> None:
    """Change the schema."""
    op.execute("ALTER TABLE releases ADD COLUMN calibration JSONB")


def downgrade() -> None:
    """Change it back."""
    op.execute("ALTER TABLE releases DROP COLUMN calibration")
