/** One record's trace through real parts: a publisher in Python, the vault, a consumer in TypeScript, an OTLP receiver. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import test from "ava";
import type { ExecutionContext } from "ava";

import { systemClock, sleep } from "../../src/clock.ts";
import { findGo, provideOtlpReceiver, providePython } from "../../scripts/interop-parts.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { startOtlpReceiver } from "../support/start-otlp-receiver.ts";
import type { OtlpReceiver, ReceivedSpan } from "../support/start-otlp-receiver.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";

const execute = promisify(execFile);

const testMsMax = 240_000;
// A cold build, where nobody made one before: npm run test:full does.
const buildMsMax = 900_000;
const arriveMsMax = 60_000;

interface Ids {
  readonly traceId: string;
  readonly spanId: string;
}

async function publishFromPython(address: string, stream: string, value: string, exporter: string): Promise<Ids> {
  const { executable, generated } = await providePython();
  const env = { ...process.env, PYTHONPATH: generated, OTEL_EXPORTER_OTLP_ENDPOINT: exporter };
  const { stdout } = await execute(executable, ["test/interop/publisher.py", address, stream, value], { env });
  return JSON.parse(stdout) as Ids;
}

async function consumeInTypeScript(
  address: string,
  stream: string,
  exporter: string,
): Promise<Ids & { value: string }> {
  const env = {
    ...process.env,
    OTEL_EXPORTER_OTLP_ENDPOINT: exporter,
    OTEL_METRICS_EXPORTER: "none",
    OTEL_LOGS_EXPORTER: "none",
  };
  const { stdout } = await execute(process.execPath, ["test/interop/consumer.ts", address, stream], { env });
  return JSON.parse(stdout) as Ids & { value: string };
}

/** The first span that `matches`, as soon as the receiver has it. */
async function findSpan(
  t: ExecutionContext,
  receiver: OtlpReceiver,
  what: string,
  matches: (span: ReceivedSpan) => boolean,
): Promise<ReceivedSpan> {
  const end = systemClock.monotonic() + arriveMsMax;
  for (;;) {
    const spans = await receiver.spans();
    const found = spans.find(matches);
    if (found !== undefined) return found;
    if (systemClock.monotonic() > end) {
      for (const span of spans) t.log(span);
      throw new Error(`no span came that is ${what}`);
    }
    await sleep(systemClock, 50);
  }
}

function isLinkedWith({ links }: ReceivedSpan, { traceId, spanId }: Ids): boolean {
  return links.some((link) => link.traceId === traceId && link.spanId === spanId);
}

// The receiver is built with it.
const hasGo = (await findGo()) !== undefined;

// Once, before the tests: they run side by side.
test.before("trace - the parts that npm does not have are there", async (t) => {
  if (!hasGo) return;
  t.timeout(buildMsMax);
  await provideOtlpReceiver();
  await providePython();
});

for (const protocol of ["grpc", "http/protobuf"] as const) {
  const run = hasGo ? test : test.skip;
  run(
    `trace - goes from a publisher in Python to a consumer in TypeScript, exported by OTLP over ${protocol}`,
    async (t) => {
      t.timeout(testMsMax);
      const receiver = await startOtlpReceiver(t);
      const azurite = await createAzurite(t);
      const exporter = protocol === "grpc" ? receiver.grpc : receiver.http;
      const vault = await startVaultProcess(t, ["--storage", azurite.setting], {
        OTEL_TRACES_EXPORTER: "otlp",
        OTEL_METRICS_EXPORTER: "none",
        OTEL_EXPORTER_OTLP_ENDPOINT: exporter,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_BSP_SCHEDULE_DELAY: "100",
      });
      const published = await publishFromPython(vault.endpoint, "orders", "one", receiver.grpc);
      const consumed = await consumeInTypeScript(vault.endpoint, "orders", receiver.http);
      t.is(consumed.value, "one");
      t.is(consumed.traceId, published.traceId);

      const find = (what: string, matches: (span: ReceivedSpan) => boolean) => findSpan(t, receiver, what, matches);
      const isVaults = ({ service }: ReceivedSpan) => service === "message-vault";
      const producer = await find("the publisher's", ({ spanId }) => spanId === published.spanId);
      t.like(producer, { service: "publisher", kind: 4, traceId: published.traceId, parentSpanId: undefined });

      const call = await find("the call", (span) => isVaults(span) && span.parentSpanId === producer.spanId);
      t.like(call, { name: "messagevault.v1.VaultService/Publish", kind: 2, traceId: published.traceId });
      t.like(call.attributes, { "rpc.method": "messagevault.v1.VaultService/Publish", "rpc.status_code": "OK" });

      const publish = await find("the publish", (span) => isVaults(span) && span.parentSpanId === call.spanId);
      t.like(publish, { name: "publish orders", traceId: published.traceId });
      t.is(publish.attributes["messaging.destination.name"], "orders");

      const commit = await find("the commit", (span) => isVaults(span) && isLinkedWith(span, publish));
      t.is(commit.name, "commit orders");

      const isWrite = ({ name }: ReceivedSpan) => name === "storage writePages";
      const write = await find("its write", (span) => isWrite(span) && span.parentSpanId === commit.spanId);
      t.like(write, { kind: 3, traceId: commit.traceId });
      t.is(write.attributes["messagevault.storage.attempt"], "1");

      const isDelivery = ({ name }: ReceivedSpan) => name === "deliver orders";
      const deliver = await find("the delivery", (span) => isDelivery(span) && isLinkedWith(span, producer));
      t.like(deliver, { service: "message-vault" });

      const consumer = await find("the consumer's", ({ spanId }) => spanId === consumed.spanId);
      t.like(consumer, { service: "consumer", kind: 5, traceId: published.traceId, parentSpanId: producer.spanId });
    },
  );
}
