"""Count the stored images and bytes of each owner, for quotas.

Triggers keep the counts, so that they are right whoever writes: uploads, indexers, deletions and restores. Rejected
images do not count, and neither do those that belong to nobody.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

UP = """
ALTER TABLE images ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;

CREATE TABLE owner_usage (
  owner TEXT PRIMARY KEY,
  images BIGINT NOT NULL,
  bytes BIGINT NOT NULL
);
INSERT INTO owner_usage
  SELECT owner, count(*), 0 FROM images WHERE owner <> '' AND status <> 'rejected' GROUP BY owner;

-- One row of owner_usage a statement and owner, always in the same order, so that statements cannot deadlock.
CREATE FUNCTION count_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO owner_usage AS held
    SELECT owner, count(*), sum(bytes) FROM added WHERE owner <> '' AND status <> 'rejected'
    GROUP BY owner ORDER BY owner
    ON CONFLICT (owner) DO UPDATE SET images = held.images + excluded.images, bytes = held.bytes + excluded.bytes;
  RETURN NULL;
END $$;
CREATE FUNCTION count_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO owner_usage AS held
    SELECT owner, -count(*), -sum(bytes) FROM removed WHERE owner <> '' AND status <> 'rejected'
    GROUP BY owner ORDER BY owner
    ON CONFLICT (owner) DO UPDATE SET images = held.images + excluded.images, bytes = held.bytes + excluded.bytes;
  RETURN NULL;
END $$;
CREATE FUNCTION count_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO owner_usage AS held
    SELECT owner, sum(number), sum(size) FROM (
      SELECT owner, 1 AS number, bytes AS size FROM added WHERE owner <> '' AND status <> 'rejected'
      UNION ALL SELECT owner, -1, -bytes FROM removed WHERE owner <> '' AND status <> 'rejected'
    ) AS change GROUP BY owner HAVING sum(number) <> 0 OR sum(size) <> 0 ORDER BY owner
    ON CONFLICT (owner) DO UPDATE SET images = held.images + excluded.images, bytes = held.bytes + excluded.bytes;
  RETURN NULL;
END $$;
CREATE TRIGGER usage_added AFTER INSERT ON images REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_added();
CREATE TRIGGER usage_removed AFTER DELETE ON images REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_removed();
CREATE TRIGGER usage_changed AFTER UPDATE ON images REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION count_changed();
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("""
        DROP TRIGGER usage_added ON images;
        DROP TRIGGER usage_removed ON images;
        DROP TRIGGER usage_changed ON images;
        DROP FUNCTION count_added, count_removed, count_changed;
        DROP TABLE owner_usage;
        ALTER TABLE images DROP COLUMN bytes
    """)
