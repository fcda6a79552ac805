"""Every table by its name. The published ones are those that a night's commit makes visible."""

from data_contracts import alerts, article, counts, daily, mentions, quarantine, raw, scores
from data_contracts.errors import Fatal
from data_contracts.schema import Contract

CONTRACTS: dict[str, Contract] = {
    "raw": raw.CONTRACT,
    "articles": article.CONTRACT,
    "quarantine": quarantine.CONTRACT,
    "scored_articles": scores.CONTRACT,
    "entity_mentions": mentions.CONTRACT,
    "daily_entity_sentiment": daily.CONTRACT,
    "source_counts": counts.CONTRACT,
    "alerts": alerts.CONTRACT,
}


class UnknownTable(Fatal):
    """No contract has that name."""


def contract(name: str) -> Contract:
    """The contract of the table `name`."""
    if name not in CONTRACTS:
        raise UnknownTable(f"no table is called {name!r}; allowed are {', '.join(CONTRACTS)}")
    return CONTRACTS[name]
