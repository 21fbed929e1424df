#!/bin/sh
# Create the application's role and database. The image runs this once, when it initialises an empty volume.
# The application is no superuser: what a stolen password of its can reach ends at its own database.
set -eu
password=$(cat /run/secrets/visualsearch_postgres_password)
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres <<END
CREATE ROLE visualsearch LOGIN PASSWORD '$password';
CREATE DATABASE visualsearch OWNER visualsearch;
END
