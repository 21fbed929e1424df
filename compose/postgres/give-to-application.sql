-- Make an existing database the application's own, in place of a superuser's. Run in the database `visualsearch`.
DO $$
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('ALTER %s %s OWNER TO visualsearch', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass)
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
      -- A column's sequence goes with its table.
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i') AND relkind = 'S')
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO visualsearch', oid::regprocedure)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  LOOP
    EXECUTE command;
  END LOOP;
END
$$;
ALTER SCHEMA public OWNER TO visualsearch;
ALTER DATABASE visualsearch OWNER TO visualsearch;
