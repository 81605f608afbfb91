/**
 * Consumes the first record of a stream, traced, as any user of the TypeScript client and OpenTelemetry would.
 *
 * consumer.ts ADDRESS STREAM: prints one line of JSON with the record's value and the ids of its span. Traces go where
 * the standard OTEL_* variables say.
 */
import { propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { connect } from "../../src/client.ts";
import type { StreamRecord } from "../../src/client.ts";

function consume(stream: string, record: StreamRecord) {
  const headers = Object.fromEntries(record.headers.map(({ name, value }) => [name, Buffer.from(value).toString()]));
  const attributes = {
    "messaging.system.name": "message_vault",
    "messaging.destination.name": stream,
    "messaging.operation.type": "process",
    "messaging.operation.name": "process",
  };
  const created = propagation.extract(ROOT_CONTEXT, headers);
  const tracer = trace.getTracer("consumer");
  const span = tracer.startSpan(`process ${stream}`, { kind: SpanKind.CONSUMER, attributes }, created);
  span.end();
  const { traceId, spanId } = span.spanContext();
  return { value: Buffer.from(record.value).toString(), traceId, spanId };
}

const [address = "", stream = ""] = process.argv.slice(2);
const sdk = new NodeSDK({ serviceName: "consumer" });
sdk.start();
const client = connect({ addresses: [address] });
for await (const { records } of client.subscribe(stream, { start: { at: "earliest" } }).batches()) {
  const [record] = records;
  if (record === undefined) continue;
  process.stdout.write(`${JSON.stringify(consume(stream, record))}\n`);
  break;
}
client.close();
await sdk.shutdown();
