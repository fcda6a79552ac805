"""The pages of a desk, in a browser: an index of the nights, each night's report and its contract's page, and the figures for Prometheus.

They are read through the lake, so that a lake in an object store is shown as a local one is. Everything is read anew at each request; nothing
is written. There is no log-in: it listens on the loopback unless `operate.host` says otherwise, and answers to no other name of this machine,
so that a web page from elsewhere cannot read it through a visitor's browser.
"""

from __future__ import annotations

import html

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from data_contracts.errors import Fatal, NightdeskError
from flows.operate.metrics import asgi as metrics
from flows.settings import Settings, load, quiet
from tasks.hosts import redacted
from tasks.lake import Lake
from tasks.secrecy import struck_out

KINDS = {".html": "text/html; charset=utf-8", ".json": "application/json", ".png": "image/png", ".svg": "image/svg+xml"}
LOCAL = ("127.0.0.1", "localhost", "[::1]")
STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}td,th{text-align:left;padding:.2rem 1.5rem .2rem 0}"


class Pages:
    """What the routes answer."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.lake
        self._lake: Lake | None = None

    def index(self, request: Request) -> Response:
        """The published nights, the last one first."""
        try:
            nights = self._opened().published_nights()[::-1]
        except NightdeskError as error:
            return _unreadable(error)
        rows = "".join(
            f'<tr><td>{night}</td><td><a href="/reports/{night}/report.html">report</a></td>'
            f'<td><a href="/reports/{night}/contract.html">contract</a></td></tr>'
            for night in nights
        )
        table = (
            f"<table><tr><th>night</th><th></th><th></th></tr>{rows}</table>"
            if nights
            else "<p>No night is published yet.</p>"
        )
        lake = html.escape(redacted(self._url))
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>nightdesk</title><style>{STYLE}</style>'
            f'<h1>Nights</h1><p>{len(nights)} published in {lake} &middot; <a href="/metrics">metrics</a></p>{table}</html>'
        )

    def report(self, request: Request) -> Response:
        """A file below `_reports` of the lake."""
        path = request.path_params["path"]
        try:
            data = self._opened().read_file(f"_reports/{path}")
        except Fatal:
            return PlainTextResponse(f"there is no report {path}", status_code=404)
        except NightdeskError as error:
            return _unreadable(error)
        kind = next((kind for ending, kind in KINDS.items() if path.endswith(ending)), "application/octet-stream")
        return Response(data, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})

    def healthz(self, request: Request) -> Response:
        """That this program answers; it says nothing of the lake."""
        return PlainTextResponse("ok")

    def _opened(self) -> Lake:
        if self._lake is None:
            self._lake = Lake.open(self._url)
        return self._lake


def _unreadable(error: NightdeskError) -> Response:
    return PlainTextResponse(f"the lake cannot be read: {struck_out(str(error))}", status_code=503)


class _Whole:
    """An application at one path, which a mounted one would answer at the path with a slash alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def app(settings: Settings) -> Starlette:
    """The pages of these settings' desk."""
    pages = Pages(settings)
    host = settings.operate.host
    hosts = ["*"] if host in ("0.0.0.0", "::") else [host, *LOCAL]
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/reports/{path:path}", pages.report),
            Route("/healthz", pages.healthz),
            Route("/metrics", _Whole(metrics(settings))),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )


def main() -> None:
    """Serve until stopped."""
    quiet()
    settings = load()
    uvicorn.run(
        app(settings),
        host=settings.operate.host,
        port=settings.operate.pages_port,
        log_config=None,  # Prefect's stays, which writes what the settings say: text or JSON
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
