"""Add the audit log."""

from alembic import op

revision = "0010"
down_revision = "0009"

UP = """
-- One row when an act begins, and another with its outcome when it has ended.
CREATE TABLE audit_log (
  number BIGSERIAL PRIMARY KEY,
  id UUID NOT NULL,
  at TIMESTAMPTZ NOT NULL DEFAULT now(),
  actor TEXT NOT NULL DEFAULT '',
  action TEXT NOT NULL DEFAULT '',
  subject TEXT NOT NULL DEFAULT '',
  request_id TEXT NOT NULL DEFAULT '',
  outcome TEXT
);
CREATE INDEX audit_log_id ON audit_log (id);
CREATE INDEX audit_log_at ON audit_log (at);

-- The gateway's own statements can add to the log alone. Whoever can change the schema can still remove the trigger.
CREATE FUNCTION refuse_audit_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND OLD.at < now() - interval '365 days' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'Entries of the audit log cannot be changed, nor deleted within a year.'
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_log_grows BEFORE UPDATE OR DELETE ON audit_log
  FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_log_stays BEFORE TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(UP)


def downgrade() -> None:
    """Change it back."""
    op.execute("DROP TABLE audit_log; DROP FUNCTION refuse_audit_change")
