"""Runs as OpenTelemetry traces: Prefect makes a span of every flow and task run; here is who takes them, where somebody asks for it.

Prefect speaks OpenTelemetry's API alone, which drops spans until a provider is there, and it wants one before a flow begins. OpenTelemetry
loads the one that `OTEL_PYTHON_TRACER_PROVIDER` names from the entry points of what is installed: `nightdesk` is this one. Spans go to an
OTLP collector by the exporter that is installed (the extra `otlp`, or opentelemetry-exporter-otlp-proto-grpc), which like the SDK reads where
to and under what name from OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`). Unset, nothing is sent.

Not covered: metrics (`flows.operate.metrics` has them for Prometheus) and logs (`flows.operate.logs`).
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

log = logging.getLogger(__name__)

EXPORTERS = ("otlp_proto_http", "otlp_proto_grpc")


def provider() -> TracerProvider:
    """A provider that hands every span to the exporter that is installed, in batches, the last when the process ends."""
    made = TracerProvider()
    for name in EXPORTERS:
        for found in entry_points(group="opentelemetry_traces_exporter", name=name):
            made.add_span_processor(BatchSpanProcessor(found.load()()))
            return made
    log.warning("traces are asked for, and nothing sends them: install nightdesk[otlp], or another exporter for OTLP")
    return made
