"""Record what indexed folders are called in the corpus, so that no two share a name.

Folders that were indexed before are recorded when they are indexed again: their pictures are recognized by content.
"""

from alembic import op

revision = "0012"
down_revision = "0011"

UP = """
-- The keys of a folder's pictures begin with its name. Several folders can have had the same location, such as memory
-- cards that were inserted one after the other.
CREATE TABLE indexed_folders (
  name TEXT PRIMARY KEY,
  location TEXT NOT NULL,
  whole BOOLEAN NOT NULL,
  indexed_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("DROP TABLE indexed_folders")
