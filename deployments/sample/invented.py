"""The invented companies and the figures of a story about one of them.

Figures are drawn to agree with one another and with the story's tone (profit falls in bad news), in the company's own currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

import grammar

_ORDINALS = ("third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


@dataclass(frozen=True, kw_only=True)
class Company:
    """One invented company. `revenue` is in millions of `currency` a year."""

    name: str
    short: str
    alias: str
    group: str
    town: str
    country: str
    currency: str
    revenue: float
    ceo: str
    cfo: str
    product: str
    product2: str
    unit: str
    customers: str
    plant: str
    facts: tuple[str, ...]


def companies() -> tuple[Company, ...]:
    """Read all companies of the ingredient file."""
    found: list[tuple[list[str], list[str]]] = []
    for line in grammar.lines("companies.txt"):
        if line.startswith(" "):
            found[-1][1].append(line.strip())
        else:
            found.append((line.split(" | "), []))
    return tuple(_company(fields, facts) for fields, facts in found)


def _company(fields: list[str], facts: list[str]) -> Company:
    name, short, alias, group, town, country, currency, revenue, ceo, cfo, product, product2, unit, customers, plant = (
        fields
    )
    return Company(
        name=name,
        short=short,
        alias=alias,
        group=group,
        town=town,
        country=country,
        currency=currency,
        revenue=float(revenue),
        ceo=ceo,
        cfo=cfo,
        product=product,
        product2=product2,
        unit=unit,
        customers=customers,
        plant=plant,
        facts=tuple(facts),
    )


def money(millions: float, currency: str) -> str:
    """Write an amount given in millions as a newspaper does: "$412 million", "€1.3 billion"."""
    if millions >= 1_000_000:
        return f"{currency}{millions / 1_000_000:.2f} trillion"
    if millions >= 1000:
        return f"{currency}{millions / 1000:.{1 if millions >= 10_000 else 2}f} billion"
    return f"{currency}{millions:.0f} million" if millions >= 20 else f"{currency}{max(millions, 0.4):.1f} million"


def possessive(company: Company) -> str:
    """Give "Calderon's", "Stores'"."""
    return company.alias + ("'" if company.alias.endswith("s") else "'s")


def _person(name: str) -> tuple[str, str]:
    """Give full name and surname: "^" marks a surname that stands first, "~" joins the parts of one."""
    parts = name.lstrip("^").split()
    surname = parts[0] if name.startswith("^") else parts[-1]
    return " ".join(parts).replace("~", " "), surname.replace("~", " ")


def _ledger(company: Company, tone: str, rng: Random, *, quarterly: bool) -> dict[str, str]:
    """Draw the amounts: revenue and profit now and a year before, deals, debts, fines."""
    sign = {"positive": 1, "neutral": rng.choice((-1, 1)), "negative": -1}[tone]
    yearly = company.revenue * rng.uniform(0.94, 1.06)
    revenue = yearly / 4 if quarterly else yearly
    growth = rng.uniform(0.3, 1.6) if tone == "neutral" else rng.uniform(2.5, 11)
    margin = rng.uniform(6.5, 19)
    margin_before = margin - sign * rng.uniform(0.5, 2.4)
    profit_growth = rng.uniform(0.5, 3) if tone == "neutral" else rng.uniform(8, 43)
    profit = revenue * margin / 100 * 0.8
    amounts = {
        "rev": revenue,
        "rev2": revenue / (1 + sign * growth / 100),
        "prof": profit,
        "prof2": profit / (1 + sign * profit_growth / 100),
        "deal": yearly * rng.uniform(0.06, 0.4),
        "save": yearly * rng.uniform(0.008, 0.04),
        "fine": yearly * rng.uniform(0.006, 0.05),
        "capex": yearly * rng.uniform(0.03, 0.12),
        "debt": yearly * rng.uniform(0.15, 0.7),
    }
    figures = {slot: money(amount, company.currency) for slot, amount in amounts.items()}
    return figures | {
        "revp": f"{growth:.1f}",
        "profp": f"{profit_growth:.0f}",
        "margin": f"{margin:.1f}",
        "margin2": f"{margin_before:.1f}",
        "move": f"{rng.uniform(5.5, 21) if tone == 'negative' else rng.uniform(1.8, 8.5):.1f}",
    }


def _numbers(rng: Random) -> dict[str, str]:
    """Draw the numbers that need agree with nothing else."""
    small, percent, stake = rng.randint(3, 8), rng.randint(3, 9), rng.uniform(6, 24)
    jobs = rng.choice((rng.randint(8, 95) * 10, rng.randint(11, 42) * 100))
    return {
        "n": str(small),
        "n2": str(rng.randint(11, 39)),
        "nth": rng.choice(_ORDINALS),
        "pct": str(percent),
        "pct2": str(percent + rng.randint(2, 4)),
        "divp": str(rng.randint(4, 15)),
        "jobs": f"{jobs:,}",
        "yr": str(rng.randint(2027, 2031)),
        "months": str(rng.randint(12, 30)),
        "stake": f"{stake:.1f}",
        "stake0": f"{stake - rng.uniform(0.6, 2.9):.1f}",
        "stake2": str(rng.randint(61, 95)),
        "stake3": str(rng.randint(61, 95)),
        "tiny": f"{rng.uniform(0.4, 2.9):.1f}",
        "age": str(rng.randint(44, 61)),
        "three": f"{rng.randint(0, 999):03}",
        "three2": f"{rng.randint(0, 999):03}",
    } | {letter: f"{rng.uniform(0.1, 1.4):.1f}" for letter in "abcde"}


def pooled(pools: Mapping[str, tuple[str, ...]], rng: Random) -> dict[str, str]:
    """Draw the names of brokers, analysts, officials and the like; a slot ending in 2 differs from its twin."""
    drawn: dict[str, str] = {}
    for slot in ("broker", "analyst", "official", "reporter"):
        drawn[slot], drawn[f"{slot}2"] = rng.sample(pools[slot], 2)
    return drawn | {
        slot: rng.choice(pools[slot]) for slot in ("research", "union", "law", "target", "fund", "town2", "country2")
    }


def slots(
    company: Company,
    peers: tuple[Company, ...],
    night: date,
    tone: str,
    pools: Mapping[str, tuple[str, ...]],
    rng: Random,
    *,
    quarterly: bool,
) -> dict[str, str]:
    """Fill every slot for one story about `company`, told on `night`."""
    ceo, ceo_last = _person(company.ceo)
    cfo, cfo_last = _person(company.cfo)
    near = [peer for peer in peers if peer.group == company.group and peer != company] or [
        peer for peer in peers if peer != company
    ]
    peer, peer2 = rng.sample(near, 2) if len(near) > 1 else (near[0], near[0])
    return (
        {
            "name": company.name,
            "short": company.short,
            "alias": company.alias,
            "poss": possessive(company),
            "town": company.town,
            "country": company.country,
            "ceo": ceo,
            "ceol": ceo_last,
            "cfo": cfo,
            "cfol": cfo_last,
            "product": company.product,
            "product2": company.product2,
            "unit": company.unit,
            "customers": company.customers,
            "customers2": company.customers[0].upper() + company.customers[1:],
            "plant": company.plant,
            "peer": peer.short,
            "peer2": peer2.short,
            "day": night.strftime("%A"),
            "prev": (night - timedelta(days=3 if night.weekday() == 0 else 1)).strftime("%A"),
            "customer_co": rng.choice(pools.get(f"client.{company.group}", pools["client.any"])),
        }
        | _ledger(company, tone, rng, quarterly=quarterly)
        | _numbers(rng)
        | pooled(pools, rng)
        | {"country2": rng.choice([one for one in pools["country2"] if one != company.country])}
    )
