/** Whatever is sent: the vault lives, each call gets its status in time, and what is stored is well-formed. */
import { toJson } from "@bufbuild/protobuf";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type * as grpc from "@grpc/grpc-js";
import { status as grpcStatus } from "@grpc/grpc-js";
import test from "ava";
import type { ExecutionContext } from "ava";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ClusterService } from "../../gen/messagevault/v1/cluster_pb.ts";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { systemClock } from "../../src/clock.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { encode } from "../support/call-vault.ts";
import { createClient } from "../support/create-client.ts";
import { createRandom } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createRawClient, readAll } from "../support/create-rpc-server.ts";
import type { RawClient } from "../support/create-rpc-server.ts";
import { mutateBytes } from "../support/mutate-bytes.ts";
import { findGap, readStream } from "../support/read-stream.ts";
import type { VaultProcess } from "../support/start-vault-process.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { verifyStorage } from "../support/verify-storage.ts";

const deadlineMs = 15_000;

/** A method with a request that is good. */
interface Sample {
  readonly path: string;
  readonly kind: string;
  readonly request: Uint8Array;
}

function sample<I extends DescMessage>(
  method: { readonly input: I; readonly methodKind: string } & Parameters<typeof methodPath>[0],
  request: MessageInitShape<I>,
): Sample {
  return { path: methodPath(method), kind: method.methodKind, request: encode(method.input, request) };
}

const time = { seconds: 1_700_000_000n, nanos: 123_000_000 };
const records = [
  { key: Buffer.from("key"), value: Buffer.from("value"), headers: [{ name: "héader", value: Buffer.from("1") }] },
  { value: Buffer.alloc(9, 7), eventTime: time, offset: 5n, timestamp: time },
];

const names = ["ä", "日本語", "😀"].map((text) => ({ name: text.repeat(3) }));

/** Good requests for every method that the server has. */
const samples: readonly Sample[] = [
  sample(VaultService.method.publish, { stream: "a", records }),
  sample(VaultService.method.publish, {
    stream: "b",
    records,
    producer: { id: "p", sequence: 1n },
    expectedOffset: 0n,
  }),
  // Much of it is text that must be UTF-8.
  ...["i", "j"].map((stream) => sample(VaultService.method.publish, { stream, records: [{ headers: names }] })),
  ...["d", "e", "f"].map((stream) => sample(VaultService.method.publish, { stream, records })),
  ...["g", "h"].map((stream) => sample(VaultService.method.publishStream, { stream, records })),
  sample(VaultService.method.publishStream, { stream: "a", records, producer: { id: "q", sequence: 9n } }),
  sample(VaultService.method.publishStream, { stream: "c", records, incarnation: "0".repeat(32) }),
  sample(VaultService.method.subscribe, {
    stream: "a",
    start: { case: "offset", value: 1n },
    end: { case: "maxRecords", value: 5n },
    keyPrefix: Buffer.from("k"),
    heartbeatInterval: { seconds: 1n },
  }),
  sample(VaultService.method.subscribe, {
    stream: "a",
    start: { case: "timestamp", value: time },
    end: { case: "untilTail", value: {} },
  }),
  sample(StreamService.method.createStream, {
    name: "a",
    settings: { segmentBytes: 65_536n, segmentAge: { seconds: 3n }, retentionBytes: 9n ** 9n, retentionAge: time },
  }),
  sample(StreamService.method.getStream, { name: "a" }),
  sample(StreamService.method.listStreams, { prefix: "a", pageSize: 10, pageToken: "YQ" }),
  sample(StreamService.method.updateStream, {
    name: "a",
    settings: { producerWindow: { seconds: 9n, nanos: 5 } },
    updateMask: { paths: ["producer_window", "segment_age"] },
  }),
  sample(StreamService.method.deleteStream, { name: "b", incarnation: "f".repeat(32) }),
  sample(StreamService.method.trimStream, { name: "a", before: { case: "offset", value: 3n } }),
  sample(StreamService.method.trimStream, { name: "a", before: { case: "timestamp", value: time } }),
  sample(StreamService.method.getReadAccess, { name: "a", fromOffset: 1n, toOffset: 7n }),
  sample(ClusterService.method.getCluster, {}),
  sample(Health.method.check, { service: "messagevault.v1.VaultService" }),
  sample(Health.method.watch, { service: "" }),
  sample(ServerReflection.method.serverReflectionInfo, {
    host: "h",
    messageRequest: { case: "fileContainingSymbol", value: "messagevault.v1.Record" },
  }),
];

const requests = samples.map(({ request }) => request);

/** How a call ended: the name of its status, and what it said. */
interface Outcome {
  readonly code: string;
  readonly details: string;
}

const understood: Outcome = { code: "OK", details: "" };

/** Sends bytes to a method; resolves to how the call ended. */
function send(client: RawClient, { path, kind }: Sample, messages: readonly Uint8Array[]): Promise<Outcome> {
  const options = { deadline: Date.now() + deadlineMs };
  if (kind === "unary") {
    return client.unary(path, messages[0]!, options).then(() => understood, toOutcome);
  }
  if (kind === "bidi_streaming") {
    const duplex = client.duplex(path, options);
    for (const message of messages) duplex.write(message);
    duplex.end();
    return readAll(duplex).then(({ status }) => toOutcome(status));
  }
  const call = client.serverStream(path, messages[0]!, options);
  // What follows a stream for ever was understood.
  const begun = new Promise<Outcome>((resolve) => void call.once("data", () => resolve(understood)));
  return Promise.race([begun, readAll(call).then(({ status }) => toOutcome(status))]).finally(() => call.cancel());
}

function toOutcome({ code, details }: Pick<grpc.StatusObject, "code" | "details">): Outcome {
  return { code: grpcStatus[code] ?? String(code), details };
}

/** What must not come out: crashes, faults of the vault's own, and calls that never end. */
function isBad({ path }: Sample, { code }: Outcome): boolean {
  // For what is no message, the gRPC library says INTERNAL by itself where a service is its own.
  if (code === "INTERNAL") return !path.startsWith("/grpc.");
  // The first request of a call was refused and the second one stored.
  if (code === "UNKNOWN") return !path.endsWith("/PublishStream");
  return ["DEADLINE_EXCEEDED", "UNAVAILABLE", "DATA_LOSS", "CANCELLED"].includes(code);
}

async function checkVault(t: ExecutionContext, vault: VaultProcess, storage: string): Promise<void> {
  t.is(vault.child.exitCode, null, vault.log());
  t.notRegex(vault.log(), /call failed|unhandled/i);
  const client = createClient(t, vault);
  await client.publish("good", [{ value: "still here" }]);
  let count = 0;
  for (let from: string | undefined = ""; from !== undefined;) {
    const page = await client.listStreams("", 1000, from);
    for (const stream of page.names) count += await checkStream(t, client, stream);
    from = page.next;
  }
  await vault.kill("SIGKILL");
  const report = await verifyStorage(storage);
  t.deepEqual(report.findings, []);
  t.log(`${count} records in ${report.streams.length} streams are well-formed`);
}

/** Every record decodes with the generated classes, and is one that JSON can tell too. */
async function checkStream(
  t: ExecutionContext,
  client: ReturnType<typeof createClient>,
  stream: string,
): Promise<number> {
  const found = await readStream(client, stream);
  t.is(findGap(found, found[0]?.offset), undefined, stream);
  for (const record of found) t.notThrows(() => toJson(RecordSchema, record));
  return found.length;
}

test("bad input - 10,000 mutated requests to all methods: each gets its status, and nothing malformed is stored", async (t) => {
  t.timeout(180_000);
  const seed = 12;
  t.log(`seed ${seed}`);
  const random = createRandom(seed);
  const storage = `file:${await createDirectory(t)}/data`;
  const vault = await startVaultProcess(t, ["--storage", storage, "--log-level", "warn"]);
  const clients = [1, 2, 3].map(() => createRawClient(t, vault.endpoint));
  const outcomes = new Map<string, number>();
  const wrong: string[] = [];
  for (const good of samples) {
    const outcome = await send(clients[0]!, good, [good.request]);
    if (isBad(good, outcome)) wrong.push(`${good.path}: ${outcome.details} without any change`);
  }
  let left = 10_000;
  async function work(client: RawClient): Promise<void> {
    while (left-- > 0) {
      const target = samples[Math.floor(random() * samples.length)]!;
      const messages = [mutateBytes(target.request, requests, random)];
      if (target.kind === "bidi_streaming") messages.push(mutateBytes(target.request, requests, random));
      const startedAt = systemClock.monotonic();
      const outcome = await send(client, target, messages);
      outcomes.set(outcome.code, (outcomes.get(outcome.code) ?? 0) + 1);
      const tookMs = Math.round(systemClock.monotonic() - startedAt);
      if (isBad(target, outcome))
        wrong.push(`${target.path}: ${outcome.details} (${outcome.code}, ${tookMs} ms): ${hex(messages)}`);
    }
  }
  await Promise.all(clients.flatMap((client) => Array.from({ length: 16 }, () => work(client))));
  t.log([...outcomes].map(([name, count]) => `${name} ${count}`).join(", "));
  t.deepEqual(wrong.slice(0, 20), []);
  t.true(outcomes.get("OK")! > 500 && outcomes.get("INVALID_ARGUMENT")! > 3000, "good and bad ones were among them");
  await checkVault(t, vault, storage);
});

function hex(messages: readonly Buffer[]): string {
  return messages.map((bytes) => bytes.subarray(0, 200).toString("hex")).join(" ");
}
