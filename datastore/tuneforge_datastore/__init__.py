"""The datastore: ingest, ledger, curation, rendering and SQL over DuckDB."""
