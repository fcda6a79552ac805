"""The kinds of company stories, read from the ingredient files."""

from __future__ import annotations

from dataclasses import dataclass, field

import grammar

STORIES = ("stories_1.txt", "stories_2.txt", "stories_3.txt")


@dataclass(frozen=True, kw_only=True)
class Template:
    """One kind of company story: alternatives of headline, lead and quote, and the paragraphs between.

    A headline stands with the number of the lead that it belongs to, or with "" where it suits all of them.
    """

    name: str
    tone: str
    groups: frozenset[str]
    uses: tuple[int, int]
    heads: list[tuple[str, str]] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    body: list[tuple[str, str]] = field(default_factory=list)


def templates() -> list[Template]:
    """Read the company stories of the ingredient files."""
    found: list[Template] = []
    for line in (line for name in STORIES for line in grammar.lines(name)):
        mark, text = line.split(" ", 1)
        if mark == "@":
            name, tone, groups, uses = (part.strip() for part in text.split("|"))
            first, second = (int(number) for number in uses.split())
            found.append(Template(name=name, tone=tone, groups=frozenset(groups.split(",")), uses=(first, second)))
        elif mark.startswith("H"):
            found[-1].heads.append((mark[1:], text))
        elif mark in ("P", "?"):
            found[-1].body.append((mark, text))
        else:
            (found[-1].leads if mark == "L" else found[-1].quotes).append(text)
    return found


def family(template: Template) -> str:
    """Name what a company tells at most once in the two nights; results and outlook are one thing."""
    family = template.name.split(".")[0]
    return {"guidance": "results"}.get(family, template.name if family == "regulator" else family)
