/** The seam between what storage holds and the tail, while publishers run at full speed and caches are tiny. */
import { fromBinary } from "@bufbuild/protobuf";
import test from "ava";
import type { ExecutionContext } from "ava";
import { PublishResponseSchema, SubscribeResponseSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { VaultClient } from "../../src/client.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { createCaller, encode } from "../support/call-vault.ts";
import type { VaultCaller } from "../support/call-vault.ts";
import { createClient } from "../support/create-client.ts";
import { createRandom } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

const { publish, publishStream, subscribe } = VaultService.method;
const stream = "seam";
const publishers = 2;
const batchesEach = 400;
const recordsPerBatch = 10;
const total = BigInt(publishers * batchesEach * recordsPerBatch);
const subscribers = 200;
const stalledSubscribers = 20;

// The smallest caches that a vault may have hold a quarter of what is published; a segment holds about 120 records.
const tiny = [
  ["--tail-cache-bytes", "1MiB"],
  ["--read-cache-bytes", "4MiB"],
  ["--read-bytes", "256KiB"],
  ["--read-ahead-bytes", "0"],
  ["--segment-bytes", "64KiB"],
  ["--frame-bytes", "4KiB"],
  ["--response-bytes", "16KiB"],
].flat();

/** What publishers have been told so far. */
interface Progress {
  nextOffset: bigint;
  readonly wrong: string[];
}

/** Publishes on one PublishStream call, 64 requests ahead of the answers. */
async function publishPipelined(caller: VaultCaller, publisher: number, progress: Progress): Promise<void> {
  const call = caller.raw.duplex(methodPath(publishStream));
  let [sent, answered, last] = [0, 0, -1n];
  const send = () => {
    if (sent === batchesEach) return;
    const values = Array.from({ length: recordsPerBatch }, (_, i) => `${publisher} ${sent * recordsPerBatch + i} `);
    const records = values.map((value) => ({ value: Buffer.from(value.padEnd(500, ".")) }));
    sent++;
    call.write(encode(publish.input, { stream, records }));
    if (sent === batchesEach) call.end();
  };
  call.on("data", (bytes: Buffer) => {
    const { firstOffset, nextOffset } = fromBinary(PublishResponseSchema, bytes);
    if (firstOffset <= last) progress.wrong.push(`publisher ${publisher}: ${firstOffset} was answered behind ${last}`);
    last = firstOffset;
    answered++;
    if (nextOffset > progress.nextOffset) progress.nextOffset = nextOffset;
    send();
  });
  for (let i = 0; i < 64; i++) send();
  const status = await new Promise<{ code: number; details: string }>((resolve) => {
    call.on("error", () => undefined);
    call.once("status", resolve);
  });
  if (status.code !== 0 || answered !== batchesEach) progress.wrong.push(`publisher ${publisher}: ${status.details}`);
}

/** Follows the stream to the last offset; resolves to what was wrong with it. */
async function follow(client: VaultClient, from: bigint): Promise<string | undefined> {
  let next = from;
  for await (const delivery of client
    .subscribe(stream, { start: { at: "offset", offset: from }, heartbeatMs: 1000 })
    .batches()) {
    for (const { offset } of delivery.records) {
      if (offset !== next) return `from ${from}: ${offset} where ${next} should be`;
      next++;
    }
    if (delivery.nextOffset !== next) return `from ${from}: next is said to be ${delivery.nextOffset}, not ${next}`;
    if (next === total) return undefined;
  }
  return `from ${from}: ended at ${next}`;
}

/** A subscription that reads nothing until `resume`, which reads it to the last offset. */
function stall(caller: VaultCaller) {
  const asked = encode(subscribe.input, {
    stream,
    start: { case: "earliest", value: {} },
    end: { case: "untilOffset", value: total },
  });
  const call = caller.raw.serverStream(methodPath(subscribe), asked);
  // A failure shows when it is read on.
  call.on("error", () => undefined);
  call.pause();
  return {
    async resume(): Promise<string | undefined> {
      let next = 0n;
      for await (const bytes of call as AsyncIterable<Buffer>) {
        for (const { offset } of fromBinary(SubscribeResponseSchema, bytes).records) {
          if (offset !== next) return `stalled: ${offset} where ${next} should be`;
          next++;
        }
      }
      return next === total ? undefined : `stalled: ended at ${next}`;
    },
  };
}

/** The records of each publisher are in the order in which it sent them. */
async function checkOrder(t: ExecutionContext, client: VaultClient): Promise<void> {
  const nextNumbers = Array.from({ length: publishers }, () => 0);
  for await (const { records } of client
    .subscribe(stream, { start: { at: "earliest" }, end: { at: "tail" } })
    .batches()) {
    for (const { value, offset } of records) {
      const [publisher, number] = Buffer.from(value).toString().split(" ").map(Number);
      if (number !== nextNumbers[publisher!]!++) t.fail(`${offset} is number ${number} of publisher ${publisher}`);
    }
  }
  t.deepEqual(
    nextNumbers,
    nextNumbers.map(() => batchesEach * recordsPerBatch),
  );
}

test("seam - subscriptions that start anywhere at any time see each record once, in order, beside stalled ones", async (t) => {
  t.timeout(120_000);
  const seed = 5;
  t.log(`seed ${seed}`);
  const random = createRandom(seed);
  const storage = `file:${await createDirectory(t)}/data`;
  const vault = await startVaultProcess(t, ["--storage", storage, ...tiny]);
  const clients = [1, 2, 3, 4].map(() => createClient(t, vault));
  await clients[0]!.createStream(stream);
  const idle = createCaller(t, vault);
  const stalled = Array.from({ length: stalledSubscribers }, () => stall(idle));

  const progress: Progress = { nextOffset: 0n, wrong: [] };
  const publishing = Promise.all(
    Array.from({ length: publishers }, (_, i) => publishPipelined(createCaller(t, vault), i, progress)),
  );
  const following: Promise<string | undefined>[] = [];
  for (let i = 0; i < subscribers; i++) {
    const due = (total * BigInt(i)) / BigInt(subscribers);
    await waitUntil(() => progress.nextOffset >= due || progress.wrong.length > 0, `${due} are published`, 60_000);
    // A third of them begins at the very end, where new records are just coming in.
    const back = random() < 1 / 3 ? 0 : Math.floor(random() * Number(progress.nextOffset));
    following.push(follow(clients[i % clients.length]!, progress.nextOffset - BigInt(back)));
  }
  await publishing;
  t.deepEqual(progress.wrong, []);
  t.is(progress.nextOffset, total);
  t.deepEqual(
    (await Promise.all(following)).filter((problem) => problem !== undefined),
    [],
  );
  await checkOrder(t, clients[0]!);
  const resumed = await Promise.all(stalled.map((one) => one.resume()));
  t.deepEqual(
    resumed.filter((problem) => problem !== undefined),
    [],
  );
  const { segmentCount } = await clients[0]!.getStream(stream);
  t.true(segmentCount > 40, `${segmentCount} segments`);
  t.log(`${total} records, ${segmentCount} segments, ${subscribers} subscriptions`);
});
