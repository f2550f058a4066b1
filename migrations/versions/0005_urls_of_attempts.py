"""attempts say which address they went to: an endpoint's may change"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("url", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "url")
