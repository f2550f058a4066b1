"""sessions that were signed out of; deliveries are found by their age, for trimming, and by their type, for the log"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ended_sessions",
        sa.Column("business_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["business_id"], ["businesses.id"], name=op.f("fk_ended_sessions_business_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_ended_sessions")),
    )
    op.create_index("ix_ended_sessions_ended", "ended_sessions", ["ended_at"])
    op.create_index("ix_deliveries_type", "deliveries", ["business_id", "endpoint_id", "event_type", "id"])
    op.create_index("ix_deliveries_created", "deliveries", ["created_at"], postgresql_using="brin")


def downgrade() -> None:
    op.drop_index("ix_deliveries_type", table_name="deliveries")
    op.drop_index("ix_deliveries_created", table_name="deliveries", postgresql_using="brin")
    op.drop_table("ended_sessions")
