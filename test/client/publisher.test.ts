import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ExecutionContext } from "ava";
import test from "ava";
import { isKind, VaultError } from "../../src/errors.ts";
import { createClient } from "../support/create-client.ts";
import { answer, createScriptedVault } from "../support/create-scripted-vault.ts";
import { createVault } from "../support/create-vault.ts";
import { readStream } from "../support/read-stream.ts";
import { waitUntil } from "../support/wait-until.ts";

interface Seen {
  readonly values: string[];
  readonly expectedOffset: bigint | undefined;
}

async function createCollector(t: ExecutionContext) {
  const seen: Seen[] = [];
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          const values = request.records.map(({ value }) => Buffer.from(value).toString());
          seen.push({ values, expectedOffset: request.expectedOffset });
          if (values.includes("bad")) throw new VaultError("invalid", "bad record");
          yield answer(request);
        }
      },
    ],
  });
  return { client: createClient(t, vault), seen };
}

test("publisher - collects records into batches by count, and flush sends the rest", async (t) => {
  const { client, seen } = await createCollector(t);
  const publisher = client.publisher("s", { batchRecords: 2, lingerMs: 60_000 });
  for (const value of ["a", "b", "c"]) await publisher.add({ value });
  await publisher.flush();
  t.deepEqual(
    seen.map(({ values }) => values),
    [["a", "b"], ["c"]],
  );
  await publisher.close();
});

test("publisher - collects records into batches by size", async (t) => {
  const { client, seen } = await createCollector(t);
  const publisher = client.publisher("s", { batchBytes: 1000, lingerMs: 60_000 });
  for (let i = 0; i < 8; i++) await publisher.add({ value: `${i}`.padEnd(300) });
  await publisher.close();
  t.deepEqual(
    seen.map(({ values }) => values.length),
    [4, 4],
  );
});

test("publisher - a batch that is not full goes out after the linger", async (t) => {
  const { client, seen } = await createCollector(t);
  const publisher = client.publisher("s", { lingerMs: 1 });
  void publisher.add({ value: "a" });
  await waitUntil(() => seen.length === 1, "the batch arrives");
  t.deepEqual(seen[0]?.values, ["a"]);
  await publisher.close();
});

test("publisher - a batch of its own keeps its place between single records", async (t) => {
  const { client, seen } = await createCollector(t);
  const publisher = client.publisher("s", { lingerMs: 60_000 });
  void publisher.add({ value: "a" });
  const receipt = publisher.publish([{ value: "b" }, { value: "c" }]);
  void publisher.add({ value: "d" });
  await publisher.close();
  t.is((await receipt).firstOffset, 1n);
  t.deepEqual(
    seen.map(({ values }) => values),
    [["a"], ["b", "c"], ["d"]],
  );
});

test("publisher - with an expected offset each batch expects to follow the one before", async (t) => {
  const { client, seen } = await createCollector(t);
  const publisher = client.publisher("s", { expectedOffset: 10n });
  await publisher.publish([{ value: "a" }, { value: "b" }]);
  await publisher.publish([{ value: "c" }]);
  t.deepEqual(
    seen.map(({ expectedOffset }) => expectedOffset),
    [10n, 12n],
  );
  await publisher.close();
});

test("publisher - what made a batch fail is told to whoever goes on", async (t) => {
  const { client } = await createCollector(t);
  const publisher = client.publisher("s");
  void publisher.add({ value: "bad" });
  t.true(isKind(await t.throwsAsync(publisher.flush()), "invalid"));
  t.throws(() => publisher.add({ value: "next" }), { message: /bad record/ });
  await t.throwsAsync(publisher.publish([{ value: "next" }]), { message: /bad record/ });
  await t.throwsAsync(publisher.close(), { message: /bad record/ });
});

test("publisher - a record that is too large is refused, and the others go on", async (t) => {
  const { client, seen } = await createCollector(t);
  const publisher = client.publisher("s", { lingerMs: 60_000 });
  void publisher.add({ value: "a" });
  t.true(
    isKind(
      t.throws(() => publisher.add({ value: Buffer.alloc(5_000_000) })),
      "invalid",
    ),
  );
  void publisher.add({ value: "b" });
  await publisher.close();
  t.deepEqual(
    seen.map(({ values }) => values),
    [["a", "b"]],
  );
});

test("publisher - send tells of each record where it was stored", async (t) => {
  const vault = await createVault(t);
  const client = createClient(t, vault);
  await client.publish("s", [{ value: "before" }]);
  const publisher = client.publisher("s", { batchRecords: 3, lingerMs: 60_000 });
  const sent = ["a", "b", "c", "d"].map((value) => publisher.send({ value }));
  void publisher.add({ value: "e" });
  const last = publisher.send({ value: "f" });
  await publisher.flush();
  const receipts = await Promise.all([...sent, last]);
  t.deepEqual(
    receipts.map(({ offset }) => offset),
    [1n, 2n, 3n, 4n, 6n],
  );
  const stored = await readStream(client, "s");
  for (const { offset, timestamp, duplicate } of receipts) {
    t.is(timestamp, timestampMs(stored[Number(offset)]!.timestamp!));
    t.false(duplicate);
  }
  await publisher.close();
});

test("publisher - send rejects with what made its batch fail", async (t) => {
  const { client } = await createCollector(t);
  const publisher = client.publisher("s", { batchRecords: 2, lingerMs: 60_000 });
  const sent = ["bad", "with it", "behind"].map((value) => publisher.send({ value }));
  await t.throwsAsync(publisher.flush());
  const outcomes = await Promise.allSettled(sent);
  t.deepEqual(
    outcomes.map((outcome) => (outcome.status === "rejected" ? (outcome.reason as VaultError).kind : "stored")),
    ["invalid", "invalid", "unavailable"],
  );
});

test("publisher - where too much waits a record is refused and not taken, and what was taken is stored", async (t) => {
  const open = Promise.withResolvers<void>();
  const stored: string[] = [];
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          await open.promise;
          stored.push(...request.records.map(({ value }) => Buffer.from(value).toString()));
          yield answer(request);
        }
      },
    ],
  });
  const options = { batchRecords: 1, inFlightRequestsMax: 1, queuedRequestsMax: 2 };
  const publisher = createClient(t, vault).publisher("s", options);
  const taken: string[] = [];
  let refusal: unknown;
  for (let i = 0; i < 10; i++) {
    try {
      void publisher.add({ value: `${i}` });
      taken.push(`${i}`);
    } catch (error) {
      refusal = error;
    }
  }
  t.true(isKind(refusal, "overloaded"));
  t.deepEqual(taken, ["0", "1", "2"]);
  await t.throwsAsync(publisher.send({ value: "refused too" }), { message: /too many batches wait/ });
  open.resolve();
  await publisher.room();
  void publisher.add({ value: "later" });
  await publisher.close();
  t.deepEqual(stored, [...taken, "later"]);
});

test("publisher - a record that lingers gets its turn, however busy another publisher of the same pipeline is", async (t) => {
  const { client } = await createCollector(t);
  const pipeline = client.pipeline({ inFlightRequestsMax: 2 });
  const busy = client.publisherOn(pipeline, "s", { batchRecords: 1 });
  const quiet = client.publisherOn(pipeline, "s", { lingerMs: 1 });
  const state = { published: 0, stored: false };
  const keepBusy = async () => {
    for (; !state.stored && state.published < 20_000; state.published++)
      await busy.add({ value: `${state.published}` });
  };
  const working = keepBusy();
  await waitUntil(() => state.published > 100, "the other one is busy");
  await quiet.send({ value: "quiet" });
  state.stored = true;
  await working;
  t.true(state.published < 20_000, `${state.published} went before it`);
  await pipeline.close();
});

test("publisher - who waits for what add returns is never refused, however small the buffer is", async (t) => {
  const { client, seen } = await createCollector(t);
  for (const limits of [{ queuedBytesMax: 100 }, { queuedRequestsMax: 1 }, { queuedRequestsMax: 0 }]) {
    const publisher = client.publisher("s", { batchRecords: 1, inFlightRequestsMax: 1, ...limits });
    for (let i = 0; i < 20; i++) await publisher.add({ value: Buffer.alloc(60, 97) });
    await publisher.close();
  }
  t.is(seen.length, 60);
});
