import test from "ava";
import type { ExecutionContext } from "ava";
import { VaultService } from "../gen/messagevault/v1/vault_pb.ts";
import type { BlobStore } from "../src/blob/blob-store.ts";
import { heldFence } from "../src/blob/contract-check.ts";
import { createMemoryStore } from "../src/blob/memory.ts";
import { loadConfig } from "../src/config.ts";
import { silentLog } from "../src/log.ts";
import { composeNode } from "../src/node.ts";
import { createGrpcCaller } from "../src/rpc/grpc-caller.ts";
import { callHandler } from "./support/call-handler.ts";
import { createClock } from "./support/create-clock.ts";
import type { ManualClock } from "./support/create-clock.ts";
import { createFaultyStore } from "./support/create-faulty-store.ts";
import { drive } from "./support/drive.ts";

const endpoint = "node:50051";

async function startNode(t: ExecutionContext, clock: ManualClock, store: BlobStore) {
  const config = loadConfig({ segmentBytes: 64 * 1024 }, {});
  const caller = createGrpcCaller({ connectTimeoutMs: 1000, keepaliveMs: 20_000, keepaliveTimeoutMs: 10_000 }, clock);
  const probe = async () => "refused" as const;
  const node = composeNode(config, { store, clock, log: silentLog, caller, probe }, "test");
  await drive(clock, node.start(endpoint));
  t.teardown(() => drive(clock, node.close()));
  t.teardown(() => caller.close());
  const publish = (stream: string) =>
    callHandler(node.handlers, VaultService.method.publish, { stream, records: [{ value: Buffer.from("x") }] });
  return { node, publish };
}

/** The storage requests of a node that takes over from one that was killed, up to its first acknowledged publish. */
async function countTakeover(t: ExecutionContext, streams: number): Promise<Record<string, number>> {
  const clock = createClock();
  const memory = createMemoryStore(clock, { capacityBytes: 2 ** 40 });
  const first = await startNode(t, clock, memory);
  await first.publish("s0");
  const stored = (await memory.get("streams/s0/stream.json"))!;
  for (let stream = 1; stream < streams; stream++) {
    await memory.put(`streams/s${stream}/stream.json`, stored.bytes, "always");
    await memory.createPages(`streams/s${stream}/${"0".repeat(32)}/${"0".repeat(20)}.segment`, 4096, heldFence(1));
  }
  const counted = createFaultyStore(memory);
  const calls = () => Object.fromEntries<number>(counted.calls);
  const second = await startNode(t, clock, counted.store);
  t.is(second.node.leadership.role, "leader");
  await drive(clock, second.publish("s0"));
  return calls();
}

test("node - taking over and serving a publish costs the same with one stream as with ten thousand", async (t) => {
  t.timeout(120_000);
  const few = await countTakeover(t, 1);
  t.log(few);
  t.deepEqual(await countTakeover(t, 10_000), few);
});
