"""Record who marked a duplicate exclusion, and the owner of a query."""

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
-- The key's owner; empty where the gateway asks for no keys.
ALTER TABLE not_duplicates ADD COLUMN marked_by TEXT NOT NULL DEFAULT '';
ALTER TABLE queries ADD COLUMN owner TEXT NOT NULL DEFAULT '';
"""

DOWN = """
ALTER TABLE not_duplicates DROP COLUMN marked_by;
ALTER TABLE queries DROP COLUMN owner;
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute(DOWN)
