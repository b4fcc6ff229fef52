"""Repair of a record's texts, before anything else looks at them; every change is kept on file."""
