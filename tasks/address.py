"""One spelling for one web address, so that an article is known under the same id wherever its link was found.

Dropped: the scheme (http and https are the same page), user and password, a leading `www.`, the default port, the
fragment (a `#!` route stays), a trailing slash, repeated slashes, and query parameters that only track the reader;
the rest of the query is sorted. Kept apart: `m.` and `amp.` hosts, and every parameter that may choose the content
(`id`, `cid`, `page`, ...). Where this is too fine, the content's hash still finds exact repeats; where it were too
coarse, two articles would become versions of one, which nothing mends. That is why courlan normalises host and path
here but not the query, from which it would also drop `cid`, `uid`, `ref...`, `gl...` and the like.

An address that names no article (another scheme, no host, a bare home page) is no identity: the answer is None.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from courlan import normalize_url

TRACKING = re.compile(
    r"""(utm|mtm|itm|pk|hsa|vero|oly|mkt|at|ns|guce)_\w+ | _hs\w+ | __twitter_impression
    | (fb|g|d|msclk|tw|tt|y)clid | igshid? | gbraid | wbraid | srsltid | gad_source | li_fat_id | s_kwcid | _ga | _gl
    | mc_[ce]id | wt_mc | xtor | ref | ref_src | ref_url | referrer | cmp | cmpid | ncid | ocid | smid | smtyp | mod
    | guccounter | soc_src | soc_trk | tsrc | taid | ftag | ito | spm | usqp | amp_js_v | _openstat | wickedid""",
    re.IGNORECASE | re.VERBOSE,
)


def canonical(url: str | None) -> str | None:
    """`url` in its one spelling, such as `example.com/a/b?id=1`; None when it identifies no article."""
    if url is None or not url.strip():
        return None
    try:
        parts = urlsplit(url.strip())
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
            return None
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        clean = urlsplit(str(normalize_url(bare, trailing_slash=False)))
    except ValueError:  # brackets that are no IPv6 address, and the like
        return None
    query = urlencode(sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if not _tracks(pair[0])))
    route = parts.fragment if parts.fragment.startswith("!") else ""
    host = clean.netloc.removeprefix("www.")
    path = clean.path.rstrip("/")
    if not (path or query or route):
        return None
    return urlunsplit(("", host, path, query, route)).removeprefix("//")


def _tracks(name: str) -> bool:
    """True when the query parameter `name` says how the reader came, not what the page shows."""
    return TRACKING.fullmatch(name) is not None
