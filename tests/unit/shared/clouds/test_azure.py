"""Azure's price list, against a server that answers as it does, or oddly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.basics.errors import TemporaryError
from shared.clouds.azure import AzureRetail, Retail, by_size, question
from tests.unit.conftest import OddServer, http


def row(size: str = "Standard_D4s_v5", meter: str = "D4s v5", dollars: Any = 0.23, **other: Any) -> dict[str, Any]:
    """A row as the API has it, for Linux in dollars unless ``other`` says otherwise."""
    return {
        "currencyCode": "USD",
        "retailPrice": dollars,
        "armRegionName": "westeurope",
        "productName": "Virtual Machines Dsv5 Series",
        "skuName": meter,
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "armSkuName": size,
        **other,
    }


def page(*rows: Any, following: str | None = None) -> bytes:
    return http(200, json.dumps({"Items": rows, "NextPageLink": following, "Count": len(rows)}).encode())


def test_linux_on_demand_and_spot_are_taken_from_all_meters_of_a_size() -> None:
    rows = [
        row(),
        row(meter="D4s v5 Spot", dollars=0.04),
        row(meter="D4s v5 Low Priority", dollars=0.05),
        row(productName="Virtual Machines Dsv5 Series Windows", dollars=0.41),
        row(productName="Dsv5 Series Cloud Services", dollars=0.3),
        row(productName="Virtual Machines Dsv5 Series CloudServices", dollars=0.3),
        row(unitOfMeasure="1/Month", dollars=150),
        row(currencyCode="EUR", dollars=0.2),
        row("Standard_D8s_v5", "D8s v5", 0.46),
    ]
    assert by_size(rows) == {"standard_d4s_v5": Retail(0.23, 0.04), "standard_d8s_v5": Retail(0.46, None)}


@pytest.mark.parametrize("bad", [None, [], {}, row(dollars="0.2"), row(dollars=True), row(dollars=0), row(size=None)])  # type: ignore[arg-type]
def test_a_row_that_cannot_be_read_is_passed_over(bad: Any) -> None:
    assert by_size([bad, row()]) == {"standard_d4s_v5": Retail(0.23, None)}


def test_sizes_of_a_region_are_asked_for_together() -> None:
    assert question("westeurope", ["Standard_D4s_v5", "Standard_D8s_v5"]) == (
        "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armRegionName eq 'westeurope'"
        " and (armSkuName eq 'Standard_D4s_v5' or armSkuName eq 'Standard_D8s_v5')"
    )


def test_the_answer_is_by_the_names_that_were_asked_for() -> None:
    with OddServer(page(row())) as server:
        found = AzureRetail(server.url).prices("WestEurope", ["STANDARD_d4s_v5", "Standard_X"])
        assert found == {"STANDARD_d4s_v5": Retail(0.23, None)}
        assert b"armRegionName+eq+%27westeurope%27" in server.requests[0]
        assert b"Authorization" not in server.requests[0]


@pytest.mark.parametrize("name", ["x' or 1 eq 1 or '", "", "ä", "a b"])
def test_nothing_but_names_gets_into_a_question(name: str) -> None:
    with OddServer(page(row())) as server:
        assert AzureRetail(server.url).prices("westeurope", [name]) == {}
        assert AzureRetail(server.url).prices(name, ["Standard_D4s_v5"]) == {}
        assert server.requests == []


def test_a_next_page_elsewhere_is_not_followed() -> None:
    with OddServer(page(row(), following="http://127.0.0.1:9/else")) as server:
        assert AzureRetail(server.url).prices("westeurope", ["Standard_D4s_v5"])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", [http(429), http(500), http(302), http(200, b"<html>"), http(200, b"[]"), http(200, b'{"Items": 1}'), b""]
)
def test_any_other_answer_may_be_better_later(answer: bytes) -> None:
    with OddServer(answer) as server, pytest.raises(TemporaryError, match="Azure's price list"):
        AzureRetail(server.url).prices("westeurope", ["Standard_D4s_v5"])


def test_nobody_there_is_no_more_than_that() -> None:
    with pytest.raises(TemporaryError, match="cannot be reached"):
        AzureRetail("http://127.0.0.1:9").prices("westeurope", ["Standard_D4s_v5"])
