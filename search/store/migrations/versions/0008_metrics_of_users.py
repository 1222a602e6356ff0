"""Metrics of users, and trainings of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

OWN_METRICS = """
CREATE VIEW own_metrics AS
SELECT
    studies.name AS study,
    trials.number AS trial,
    points.id AS point,
    points.label,
    points.is_sampled,
    points.on_front,
    figure.key AS metric,
    {value} AS value,
    {mean} AS test_mean,
    {std} AS test_std,
    confirmed.seeds AS test_seeds
FROM operating_points AS points
JOIN trials ON trials.id = points.trial_id
JOIN studies ON studies.id = points.study_id
LEFT JOIN confirmed ON confirmed.point_id = points.id
{each}
"""


def upgrade() -> None:
    for table in ("studies", "operating_points", "test_runs", "confirmed"):
        op.add_column(table, sa.Column("own_metrics", sa.JSON(), nullable=True))
    op.add_column("measurements", sa.Column("metrics", sa.JSON(), nullable=True))
    op.add_column("operating_points", sa.Column("label", sa.Text(), nullable=True))
    op.add_column("studies", sa.Column("code_folder", sa.Text(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        view = OWN_METRICS.format(
            value="figure.value",
            mean="json_extract(confirmed.own_metrics, '$.' || figure.key || '_mean')",
            std="json_extract(confirmed.own_metrics, '$.' || figure.key || '_std')",
            each="JOIN json_each(points.own_metrics) AS figure",
        )
    else:
        view = OWN_METRICS.format(
            value="CAST(figure.value AS double precision)",
            mean="CAST(confirmed.own_metrics ->> (figure.key || '_mean') AS double precision)",
            std="CAST(confirmed.own_metrics ->> (figure.key || '_std') AS double precision)",
            each="CROSS JOIN LATERAL json_each_text(points.own_metrics) AS figure",
        )
    op.execute(view)
