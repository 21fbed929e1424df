"""Keep the colours of each picture beside its hash, and the cosine of near-duplicates with each release.

An image that was indexed before has no colours until the indexers have looked at it again; a release of before has no
cosine.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

UP = """
ALTER TABLE image_hash ADD COLUMN colours BYTEA;
CREATE INDEX image_hash_without_colours ON image_hash (image_id) WHERE colours IS NULL;
ALTER TABLE releases ADD COLUMN duplicate_cosine DOUBLE PRECISION;
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("""
        ALTER TABLE releases DROP COLUMN duplicate_cosine;
        ALTER TABLE image_hash DROP COLUMN colours
    """)
