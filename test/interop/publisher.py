"""Publishes one traced record, as any user of gRPC and OpenTelemetry in Python would.

publisher.py ADDRESS STREAM VALUE: prints one line of JSON with the offset and the ids of its span. Traces go where
OTEL_EXPORTER_OTLP_ENDPOINT says.
"""

import json
import sys

import grpc
from messagevault.v1 import record_pb2, vault_pb2, vault_pb2_grpc
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

ANSWER_SECONDS_MAX = 30


def publish(address: str, stream: str, value: str) -> dict[str, object]:
    tracer = trace.get_tracer("publisher")
    attributes = {
        "messaging.system.name": "message_vault",
        "messaging.destination.name": stream,
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
    }
    with (
        grpc.insecure_channel(address) as channel,
        tracer.start_as_current_span(f"publish {stream}", kind=trace.SpanKind.PRODUCER, attributes=attributes) as span,
    ):
        # The same context twice: for the server in the call's metadata, for the consumers in the record's headers.
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        headers = [record_pb2.Header(name=name, value=text.encode()) for name, text in carrier.items()]
        record = record_pb2.Record(value=value.encode(), headers=headers)
        answer = vault_pb2_grpc.VaultServiceStub(channel).Publish(
            vault_pb2.PublishRequest(stream=stream, records=[record]),
            metadata=list(carrier.items()),
            timeout=ANSWER_SECONDS_MAX,
        )
        context = span.get_span_context()
        return {
            "offset": answer.first_offset,
            "traceId": trace.format_trace_id(context.trace_id),
            "spanId": trace.format_span_id(context.span_id),
        }


def main() -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "publisher"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(insecure=True)))
    trace.set_tracer_provider(provider)
    print(json.dumps(publish(*sys.argv[1:])))
    provider.shutdown()


if __name__ == "__main__":
    main()
