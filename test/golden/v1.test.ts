/** Storage that a vault of version 1 has left is opened by the vault of today, a copy of it each time. */
import fs from "node:fs";
import path from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ExecutionContext } from "ava";
import test from "ava";
import type { Record } from "../../gen/messagevault/v1/record_pb.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openFileReader } from "../../src/blob/file-reader.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { verifyStream } from "../../src/stream/verify.ts";
import type { Vault } from "../../src/stream/vault.ts";
import { copyStore } from "../support/copy-store.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { createEngine } from "../support/create-engine.ts";
import { createFaultyStore } from "../support/create-faulty-store.ts";
import { createFileStore } from "../support/create-file-store.ts";
import { createVault } from "../support/create-vault.ts";
import { publish } from "../support/publish-records.ts";
import type { RecordInit } from "../support/publish-records.ts";
import { readRecords } from "../support/read-records.ts";
import { readStream } from "../support/read-stream.ts";
import { verifyStore } from "../support/verify-storage.ts";
import { waitUntil } from "../support/wait-until.ts";
import type { GoldenRequest, GoldenStream, StoredRequest } from "./golden-data.ts";
import { goldenDirectory, readGolden, restoreFiles, toInit, toPublish } from "./golden-data.ts";

const directory = goldenDirectory("v1");
const golden = await readGolden(directory);
const streams = Object.entries(golden.streams);
const living = streams.filter(([, stream]) => stream.exists);

/** A producer's newest requests are known for duplicates: so many. */
const rememberedMax = 64;

/** Ways to get at a copy of the data. */
const storages = {
  files: openFiles,
  memory: (t: ExecutionContext) => openCopy(t, createMemoryStore(systemClock)),
  Azurite: async (t: ExecutionContext) => openCopy(t, await (await createAzurite(t)).open()),
};

async function openFiles(t: ExecutionContext): Promise<BlobStore> {
  const { store } = await createFileStore(t, { directory: await restoreFiles(t, directory) });
  return store;
}

async function openCopy(t: ExecutionContext, store: BlobStore): Promise<BlobStore> {
  await copyStore(await openFileReader(await restoreFiles(t, directory), systemClock), store);
  return store;
}

/** Opens a vault that leads after the data's last leader, some time after the data were made. */
async function openVault(t: ExecutionContext, store: BlobStore, epoch = golden.epoch + 1): Promise<Vault> {
  const engine = createEngine(t);
  await engine.clock.advance(golden.madeAt + 60_000 - engine.clock.now());
  const { vault } = engine.open({ store, epoch });
  return vault;
}

/** Records as they should be read: what of them was trimmed aside. */
function expectedRecords(stream: GoldenStream) {
  return stream.stored
    .flatMap(({ firstOffset, timestamp, records }) =>
      records.map((record, at) => plain(BigInt(firstOffset) + BigInt(at), timestamp, toInit(record))),
    )
    .filter(({ offset }) => offset >= BigInt(stream.startOffset));
}

/** A record without what generated classes add to it. */
function plain(offset: bigint, timestamp: number, { key, value, headers, eventTime }: RecordInit) {
  return {
    offset,
    timestamp,
    key: hex(key),
    value: hex(value),
    headers: (headers ?? []).map((header) => [header.name, hex(header.value)]),
    eventTime: eventTime === undefined ? undefined : [eventTime.seconds, eventTime.nanos],
  };
}

function plainRead(record: Record) {
  return plain(record.offset, timestampMs(record.timestamp!), record);
}

function hex(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString("hex");
}

function publishAgain(vault: Vault, name: string, request: GoldenRequest) {
  const { records, options } = toPublish(request);
  return publish(vault, name, records, options);
}

/** The producers' requests that are remembered, and those that are not any more. */
function splitRemembered(stream: GoldenStream): { remembered: StoredRequest[]; forgotten: StoredRequest[] } {
  const named = stream.stored.filter(({ producer }) => producer !== undefined);
  const isRemembered = ({ producer }: StoredRequest, at: number) =>
    named.slice(at + 1).filter((later) => later.producer!.id === producer!.id).length < rememberedMax;
  return { remembered: named.filter(isRemembered), forgotten: named.filter((r, at) => !isRemembered(r, at)) };
}

test("golden data of version 1 - hold every state that is promised", (t) => {
  t.true(living.some(([, { startOffset }]) => startOffset !== "0"));
  t.true(living.some(([, stream]) => splitRemembered(stream).forgotten.length > 0));
  t.true(living.some(([, { lost }]) => lost.length > 0));
  t.true(streams.length > living.length);
});

test("golden data of version 1 - verify finds no fault, without a vault", async (t) => {
  const reader = await openFileReader(await restoreFiles(t, directory), systemClock);
  const notes: string[] = [];
  for (const [name] of streams) {
    for await (const event of verifyStream(reader, name, systemClock)) {
      if (event.kind === "finding") t.fail(`${event.blob} at ${event.position}: ${event.problem}`);
      if (event.kind === "note") notes.push(name);
    }
  }
  t.deepEqual(notes.toSorted(), ["bare", "half-deleted", "reborn", "torn", "torn-first"]);
});

for (const [storage, open] of Object.entries(storages)) {
  test(`golden data of version 1 in ${storage} - every record is read as it was published`, async (t) => {
    const vault = await openVault(t, await open(t));
    for (const [name, stream] of living) {
      const { incarnation, createdAt, ...info } = await vault.getStream(name);
      t.deepEqual([incarnation, createdAt], [stream.incarnation, stream.createdAt], name);
      t.is(String(info.firstOffset), stream.startOffset, name);
      t.is(String(info.nextOffset), stream.nextOffset, name);
      t.is(info.lastTimestamp, stream.stored.at(-1)?.timestamp, name);
      t.deepEqual({ ...info.settings, ...stream.settings }, info.settings, name);
      t.deepEqual((await readRecords(vault, name)).map(plainRead), expectedRecords(stream), name);
    }
    await vault.close();
  });

  test(`golden data of version 1 in ${storage} - what was published is known again`, async (t) => {
    const vault = await openVault(t, await open(t));
    for (const [name, stream] of living) {
      const { remembered, forgotten } = splitRemembered(stream);
      for (const request of remembered) {
        const { firstOffset, timestamp, duplicate } = await publishAgain(vault, name, request);
        t.deepEqual([String(firstOffset), timestamp, duplicate], [request.firstOffset, request.timestamp, true], name);
      }
      for (const request of forgotten) {
        await t.throwsAsync(publishAgain(vault, name, request), { instanceOf: VaultError, message: /sequence/ }, name);
      }
      t.is(String((await vault.getStream(name)).nextOffset), stream.nextOffset, name);
    }
    await vault.close();
  });

  test(`golden data of version 1 in ${storage} - publishing goes on behind it`, async (t) => {
    const store = await open(t);
    const before = await openVault(t, store);
    const added = new Map<string, StoredRequest[]>();
    for (const [name, { lost, nextOffset }] of living) {
      let next = nextOffset;
      const stored: StoredRequest[] = [];
      for (const request of [...lost, { records: [{ value: { text: "goes on" } }] }]) {
        const { firstOffset, timestamp, duplicate } = await publishAgain(before, name, request);
        t.deepEqual([String(firstOffset), duplicate], [next, false], name);
        stored.push({ ...request, firstOffset: next, timestamp });
        next = String(firstOffset + BigInt(request.records.length));
      }
      added.set(name, stored);
    }
    await before.close();
    const after = await openVault(t, store, golden.epoch + 2);
    for (const [name, stream] of living) {
      const expected = expectedRecords({ ...stream, stored: [...stream.stored, ...added.get(name)!] });
      t.deepEqual((await readRecords(after, name)).map(plainRead), expected, name);
    }
    await after.close();
    t.deepEqual((await verifyStore(store)).findings, []);
  });

  test(`golden data of version 1 in ${storage} - deletions that were cut short are finished`, async (t) => {
    const store = await open(t);
    const vault = await openVault(t, store);
    for (const [name, { exists }] of streams) {
      if (!exists) await t.throwsAsync(vault.getStream(name), { message: `there is no stream ${name}` });
    }
    t.deepEqual((await store.list("streams/deleted/", 10)).items, []);
    await publish(vault, "deleted", ["begun anew"]);
    t.deepEqual(
      (await readRecords(vault, "deleted")).map(({ offset }) => offset),
      [0n],
    );
    await vault.close();
  });
}

test("golden data of version 1 - a node that stands by reads every record, and changes nothing", async (t) => {
  const { store, calls } = createFaultyStore(await storages.memory(t));
  const engine = createEngine(t);
  const { vault, leadership } = engine.open({ store, epoch: golden.epoch + 1 });
  leadership.depose();
  for (const [name, stream] of streams) {
    if (stream.exists) {
      t.deepEqual((await readRecords(vault, name)).map(plainRead), expectedRecords(stream), name);
      t.is(String((await vault.getStream(name)).nextOffset), stream.nextOffset, name);
    } else await t.throwsAsync(vault.getStream(name), { message: `there is no stream ${name}` });
  }
  await vault.close();
  const reads = new Set<string>(["get", "list", "listFolders", "properties", "read"]);
  t.deepEqual(
    [...calls.keys()].filter((call) => !reads.has(call)),
    [],
  );
});

test("golden data of version 1 - a whole vault leads after its last leader, serves it and sweeps up", async (t) => {
  const files = await restoreFiles(t, directory);
  const vault = await createVault(t, { storage: `file:${files}`, retentionSweepMs: 100 });
  const client = createClient(t, vault);
  t.is((await client.getCluster()).epoch, BigInt(golden.epoch + 1));
  for (const [name, stream] of living) {
    t.deepEqual((await readStream(client, name)).map(plainRead), expectedRecords(stream), name);
    const { firstOffset } = await client.publish(name, [{ value: "by a client" }]);
    t.is(String(firstOffset), stream.nextOffset, name);
  }
  const left = path.join(files, "streams", "half-deleted");
  await waitUntil(() => !fs.existsSync(left), "what a deletion left is removed");
});
