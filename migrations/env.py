"""Alembic's entrance: `flask db …` runs it inside the application."""

from __future__ import annotations

from alembic import context
from flask import current_app

from models import db


def run() -> None:
    """Migrate in one transaction; wait at most five seconds for a lock, rather than hold up a busy table."""
    with db.engine.connect() as connection:
        connection.exec_driver_sql("SET lock_timeout = '5s'")
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
