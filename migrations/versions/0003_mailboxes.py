"""how far mailboxes are read"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mailboxes",
        sa.Column("business_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("position", postgresql.JSONB(), nullable=False),
        sa.Column("watcher", sa.Uuid(), nullable=True),
        sa.Column("watched_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["business_id"], ["businesses.id"], name=op.f("fk_mailboxes_business_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "account_id"],
            ["channel_accounts.business_id", "channel_accounts.id"],
            name=op.f("fk_mailboxes_business_id_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("business_id", "account_id", name=op.f("pk_mailboxes")),
    )


def downgrade() -> None:
    op.drop_table("mailboxes")
