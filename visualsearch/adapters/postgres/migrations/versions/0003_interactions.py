"""Partition interactions and queries by day, write each once, and record the variants that answered."""

from alembic import op

revision = "0003"
down_revision = "0002"

UP = """
-- What is there already becomes the partition for whatever no other one takes; its rows move out as days are added.
ALTER TABLE interactions RENAME TO interactions_default;
ALTER INDEX interactions_query RENAME TO interactions_default_query;
ALTER INDEX interactions_ts RENAME TO interactions_default_ts;
ALTER TABLE interactions_default ADD COLUMN variants JSONB;
CREATE TABLE interactions (LIKE interactions_default INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (ts);
ALTER TABLE interactions ATTACH PARTITION interactions_default DEFAULT;
CREATE INDEX interactions_query ON interactions (query_image_id);
CREATE INDEX interactions_ts ON interactions USING brin (ts);

ALTER TABLE queries RENAME TO queries_default;
ALTER TABLE queries_default DROP CONSTRAINT queries_pkey, ADD PRIMARY KEY (id, asked_at);
CREATE TABLE queries (LIKE queries_default INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (id, asked_at))
  PARTITION BY RANGE (asked_at);
ALTER TABLE queries ATTACH PARTITION queries_default DEFAULT;

-- Entries of the spool that are written: whatever comes twice is known by its id.
CREATE TABLE spooled (id UUID NOT NULL, at TIMESTAMPTZ NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE spooled_default PARTITION OF spooled DEFAULT;

CREATE FUNCTION add_day(parent TEXT, key TEXT, day DATE) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
  part TEXT := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
  low TIMESTAMPTZ := day::timestamp AT TIME ZONE 'UTC';
  high TIMESTAMPTZ := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
  IF to_regclass(part) IS NOT NULL THEN RETURN false; END IF;
  PERFORM set_config('lock_timeout', '1s', true);
  EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', parent);
  IF to_regclass(part) IS NOT NULL THEN RETURN false; END IF;
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
  EXECUTE format(
    'WITH moved AS (DELETE FROM %I WHERE %I >= $1 AND %I < $2 RETURNING *) INSERT INTO %I SELECT * FROM moved',
    parent || '_default', key, key, part) USING low, high;
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, low, high);
  RETURN true;
END $$;

CREATE FUNCTION drop_days(parent TEXT, key TEXT, before DATE) RETURNS SETOF TEXT LANGUAGE plpgsql AS $$
DECLARE part TEXT;
BEGIN
  PERFORM set_config('lock_timeout', '1s', true);
  FOR part IN
    SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = parent::regclass AND child.relname ~ (parent || '_[0-9]{8}$')
      AND to_date(right(child.relname, 8), 'YYYYMMDD') < before ORDER BY child.relname
  LOOP
    EXECUTE format('DROP TABLE %I', part);
    RETURN NEXT part;
  END LOOP;
  EXECUTE format('DELETE FROM %I WHERE %I < $1', parent || '_default', key)
    USING before::timestamp AT TIME ZONE 'UTC';
END $$;
"""

DOWN = """
DROP FUNCTION add_day, drop_days;
DROP TABLE spooled;
ALTER TABLE interactions RENAME TO interactions_by_day;
ALTER INDEX interactions_query RENAME TO interactions_by_day_query;
ALTER INDEX interactions_ts RENAME TO interactions_by_day_ts;
CREATE TABLE interactions (LIKE interactions_by_day INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO interactions SELECT * FROM interactions_by_day;
ALTER TABLE interactions DROP COLUMN variants;
DROP TABLE interactions_by_day;
CREATE INDEX interactions_query ON interactions (query_image_id);
CREATE INDEX interactions_ts ON interactions USING brin (ts);
ALTER TABLE queries RENAME TO queries_by_day;
CREATE TABLE queries (LIKE queries_by_day INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO queries SELECT * FROM queries_by_day;
DROP TABLE queries_by_day;
ALTER TABLE queries ADD PRIMARY KEY (id);
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute(DOWN)
