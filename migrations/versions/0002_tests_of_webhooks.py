"""tests of webhooks are found at once, however much waits beside them"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DUE = sa.text("state = 'pending' AND reason = 'test'")


def upgrade() -> None:
    op.create_index("ix_deliveries_tests", "deliveries", ["endpoint_id"], postgresql_where=DUE)


def downgrade() -> None:
    op.drop_index("ix_deliveries_tests", table_name="deliveries", postgresql_where=DUE)
