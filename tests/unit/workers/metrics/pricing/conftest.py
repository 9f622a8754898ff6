"""A small price table in the form of the shipped one."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.metrics.pricing.table import FORMAT, PriceTable

LINES = [
    FORMAT,
    "source\taws\t2026-07-20\tus-east-1",
    "source\tazure\t2026-06-18\teastus",
    "source\tgcp\t2026-08-03\tus-central1",
    "types\taws\tc5.large m5.large m5.xlarge m8i.large p6.large",
    "prices\taws\tus-east-1\t.085 .096 .192 .1 9",
    "prices\taws\teu-west-1\t.096 .107",
    "prices\taws\teu-west-10\t9.9 9.9",
    "ratios\taws\t*\t*=1.2",
    "ratios\taws\teu-west-1\t*=1.1 m5=1.115 m8i=1.5",
    "fargate\taws\tus-east-1\tx86=.04/.004",
    "rates\taws\tcompute=.04/.002 general=.05/.003",
    "types\tazure\tStandard_D4s_v5 Standard_E16as_v5 Standard_E16-8as_v5",
    "prices\tazure\teastus\t.192 .904 .8",
    "types\tgcp\te2-standard-4 g2-standard-4 n1-standard-8",
    "prices\tgcp\tus-central1\t.134 .7 .38",
    "prices\tgcp\teurope-west1\t.1474",
    "spot\tgcp\tus-central1\t*=.25 e2=.3 n1=.2",
    "gpus\tgcp\tus-central1\tnvidia-tesla-t4=.35/.175 nvidia-tesla-v100=2.48/1",
    "rates\tgcp\tgeneral=.03/.004",
    "cards\t*\ta10=.5 a100=2 l4=.6 t4=.3",
]


@pytest.fixture
def table(tmp_path: Path) -> PriceTable:
    return PriceTable(written(tmp_path, LINES))


@pytest.fixture(scope="session")
def shared_table(tmp_path_factory: pytest.TempPathFactory) -> PriceTable:
    """The same, for tests with many examples."""
    return PriceTable(written(tmp_path_factory.mktemp("prices"), LINES))


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "prices.txt"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path
