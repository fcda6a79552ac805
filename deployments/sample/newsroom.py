"""Writes the stories of two nights from the ingredient files: company news, macro news, the surge, features and market wraps.

Which company gets which story is drawn once, under rules that keep the news sane: nobody reports results twice, nobody but the company of the
surge has more than two bad stories a night, and two companies get some extra good news on the second night.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from random import Random

import grammar
import invented
import templates
from invented import Company
from templates import Template

NIGHTS = (date(2026, 3, 2), date(2026, 3, 3))
SURGE = "Calderon Freight"
FAVOURED = {
    "Brightwater Foods": ("capital.invest", "rating.up", "market.share", "buyback"),
    "Quillon Semiconductor": ("contract.win", "guidance.raise", "labour.hiring", "shares.jump"),
}
QUARTERLY = ("results.beat", "results.miss")
BACKGROUND_OF = {"digital": "tech", "leisure": "consumer"}
MAX_BAD_STORIES = 2
SHORT_WORDS = 105
WRAPS = {
    "europe": ("European markets wrap: {mood}", "wire"),
    "wall": ("Wall Street close: {mood}", "wire"),
    "results": ("Company results and announcements: round-up for {day}", "exchange"),
    "notes": ("Broker notes, credit and short interest: {day}'s digest", "blotter"),
}
MOODS = (
    "shares tread water in thin trade",
    "a quiet day with loud corners",
    "few moves before the data",
    "results set the tone",
)


@dataclass(frozen=True, kw_only=True)
class Story:
    """A story as its author handed it in. `brief` is its gist for a wrap, `other_headline` what a copy may call it."""

    kind: str
    tone: str
    headline: str
    paragraphs: tuple[str, ...]
    company: str = ""
    town: str = ""
    brief: str = ""
    other_headline: str = ""
    source: str = ""


class Newsroom:
    """Hands out stories. It remembers what it has told, so that the second night does not repeat the first."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.pools = grammar.names()
        self.companies = invented.companies()
        self.templates = templates.templates()
        self._told: set[tuple[str, str]] = set()
        self._used: Counter[tuple[str, str]] = Counter()
        self._background: Counter[str] = Counter()

    def company_stories(self, number: int) -> list[Story]:
        """Write the company stories of night 0 or 1."""
        planned = self._favoured() if number == 1 else []
        load = Counter(company.short for _, company in planned)
        bad: Counter[str] = Counter()
        # The rarest first: a story that few companies can tell must find one of them still free.
        due = [template for template in self.templates for _ in range(template.uses[number])]
        self.rng.shuffle(due)
        due.sort(key=lambda template: len(self._able(template)))
        for template in due:
            free = [
                one
                for one in self._able(template)
                if self._may(one, template) and not (template.tone == "negative" and bad[one.short] >= MAX_BAD_STORIES)
            ]
            if not free:
                raise ValueError(
                    f"no company is left for the story {template.name!r} of night {number + 1}: use it less often"
                )
            company = min(free, key=lambda one: (load[one.short], self.rng.random()))
            load[company.short] += 1
            bad[company.short] += template.tone == "negative"
            self._told.add((company.short, templates.family(template)))
            planned.append((template, company))
        return [self._write(template, company, NIGHTS[number]) for template, company in planned]

    def _able(self, template: Template) -> list[Company]:
        """Give the companies that a template fits. The company of the surge tells only its own story."""
        reserved = {SURGE, *FAVOURED}
        return [
            one
            for one in self.companies
            if one.short not in reserved and ("any" in template.groups or one.group in template.groups)
        ]

    def _may(self, company: Company, template: Template) -> bool:
        return (company.short, templates.family(template)) not in self._told

    def _favoured(self) -> list[tuple[Template, Company]]:
        by_name = {template.name: template for template in self.templates}
        by_short = {company.short: company for company in self.companies}
        return [(by_name[name], by_short[short]) for short, chosen in FAVOURED.items() for name in chosen]

    def _turn(self, name: str, kind: str, options: list[str]) -> tuple[str, str]:
        """Take the next of some alternatives and the one after it, so that each has its turn before any comes back."""
        turn = self._used[name, kind]
        self._used[name, kind] += 1
        return options[turn % len(options)], options[(turn + 1) % len(options)]

    def _write(self, template: Template, company: Company, night: date) -> Story:
        rng = self.rng
        slots = invented.slots(
            company, self.companies, night, template.tone, self.pools, rng, quarterly=template.name in QUARTERLY
        )
        lead, other_lead = self._turn(template.name, "L", template.leads)
        place = str(template.leads.index(lead) + 1)
        head, other_head = self._turn(
            template.name, f"H{place}", [text for bound, text in template.heads if bound in ("", place)]
        )
        body = [text for mark, text in template.body if mark == "P" or rng.random() < 0.5]
        if template.quotes:
            body.insert(rng.randint(1, len(body)), self._turn(template.name, "Q", template.quotes)[0])
        paragraphs = [
            lead,
            *body,
            *self._closing(template, company, words=sum(len(text.split()) for text in (lead, *body))),
        ]
        return Story(
            kind=template.name,
            tone=template.tone,
            company=company.short,
            town=company.town,
            headline=grammar.expand(head, slots, rng),
            paragraphs=tuple(grammar.expand(text, slots, rng) for text in paragraphs),
            brief=grammar.expand(other_lead, slots, rng)
            + " "
            + grammar.expand(template.body[-1][1], slots, rng).split(". ")[0].rstrip(".")
            + ".",
            other_headline=grammar.expand(other_head, slots, rng),
        )

    def _closing(self, template: Template, company: Company, *, words: int) -> list[str]:
        """Draw what stands below a story, more of it below a short one: a remark in its tone, a fact about the company, its trade's background."""
        rng, closing = self.rng, []
        if rng.random() < 0.45 and template.name != "notice.holding":
            closing.append(self._least_used(template.tone))
        if rng.random() < (0.6 if words > SHORT_WORDS else 0.95):
            fact = rng.choice(company.facts)
            closing.append(
                re.sub(
                    r"^It(s?) ",
                    lambda match: (invented.possessive(company) if match.group(1) else company.alias) + " ",
                    fact,
                )
            )
        if rng.random() < (0.4 if words > SHORT_WORDS else 0.95):
            closing.append(self._least_used(BACKGROUND_OF.get(company.group, company.group)))
        return closing

    def _least_used(self, topic: str) -> str:
        pool = [
            text for head, text in (line.split(" | ", 1) for line in grammar.lines("background.txt")) if head == topic
        ]
        chosen = min(pool, key=lambda text: (self._background[text], self.rng.random()))
        self._background[chosen] += 1
        return chosen

    def wraps(self, number: int, stories: list[Story]) -> list[Story]:
        """Write the long market wraps of a night; each closes with briefs of the night's company stories, none of them told twice."""
        rng, night, written = self.rng, NIGHTS[number], []
        briefs = [story for story in stories if story.kind != "notice.holding"]
        rng.shuffle(briefs)
        for kind, (headline, source) in WRAPS.items():
            pool = [
                text for head, text in (line.split(" | ", 1) for line in grammar.lines("wraps.txt")) if head == kind
            ]
            rng.shuffle(pool)
            slots = invented.slots(
                self.companies[number], self.companies, night, "neutral", self.pools, rng, quarterly=False
            )
            slots |= {"mood": MOODS[number * 2 + (kind == "wall")]}
            paragraphs = [grammar.expand(text, slots, rng) for text in pool[: 4 if number else 5]]
            while sum(len(text.split()) for text in paragraphs) < 720:
                paragraphs.append(briefs.pop().brief)
            written.append(
                Story(
                    kind=f"wrap.{kind}",
                    tone="neutral",
                    headline=grammar.expand(headline, slots, rng),
                    paragraphs=tuple(paragraphs),
                    source=source,
                )
            )
        return written

    def told_by_hand(self, number: int) -> list[Story]:
        """Read the stories of a night that were written as they stand: macro news, the surge, features."""
        night = str(number + 1)
        stories = []
        for line in grammar.lines("macro.txt"):
            told, tone, headline, body = line.split(" | ", 3)
            if told == night:
                stories.append(Story(kind="macro", tone=tone, headline=headline, paragraphs=tuple(body.split("||"))))
        for line in grammar.lines("calderon.txt"):
            told, tone, source, headline, body = line.split(" | ", 4)
            if told == night:
                stories.append(
                    Story(
                        kind="surge",
                        tone=tone,
                        company=SURGE,
                        headline=headline,
                        paragraphs=tuple(body.split("||")),
                        source=source,
                    )
                )
        return stories + [story for told, story in self._features() if told == night]

    def _features(self) -> list[tuple[str, Story]]:
        found: list[tuple[str, str, str, str, list[str]]] = []
        for line in grammar.lines("features.txt"):
            if line.startswith("@ "):
                night, tone, source, headline = line[2:].split(" | ", 3)
                found.append((night, tone, source, headline, []))
            else:
                found[-1][4].append(line)
        drawn: Mapping[str, str] = invented.pooled(self.pools, self.rng)
        return [
            (
                night,
                Story(
                    kind="feature",
                    tone=tone,
                    headline=headline,
                    paragraphs=tuple(text.format_map(drawn) for text in texts),
                    source=source,
                ),
            )
            for night, tone, source, headline, texts in found
        ]
