import test from "ava";
import fs from "node:fs/promises";
import path from "node:path";
import type { BlobReader, BlobStore } from "../../src/blob/blob-store.ts";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { filledBytes, heldFence } from "../../src/blob/contract-check.ts";
import { contract } from "../../src/blob/contract.ts";
import { headerBytes, slotBytes } from "../../src/blob/file-header.ts";
import { freshMs, openFileReader } from "../../src/blob/file-reader.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { createClock } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createFileStore } from "../support/create-file-store.ts";
import { takeSnapshot } from "../support/take-snapshot.ts";

const fence = heldFence(3);
const segment = "streams/Orders/1.segment";

/** A store whose changes are made by one and whose content is read by the other; versions and leases are the store's. */
function readThrough(store: BlobStore, reader: BlobReader): BlobStore {
  return {
    ...store,
    async read(name, position, lengthBytes) {
      const { etag } = await store.read(name, position, lengthBytes);
      return { ...(await reader.read(name, position, lengthBytes)), etag };
    },
    async get(name) {
      const etag = (await store.get(name))?.etag;
      const got = await reader.get(name);
      return got && etag !== undefined ? { ...got, etag } : undefined;
    },
    async properties(name) {
      const found = await store.properties(name);
      const seen = await reader.properties(name);
      return seen && { ...seen, etag: found!.etag, leased: found!.leased };
    },
    list: (prefix, limit, from) => reader.list(prefix, limit, from),
    listFolders: (prefix, limit, from) => reader.listFolders(prefix, limit, from),
  };
}

for (const check of contract) {
  test(`file reader beside a store, ${check.title}`, async (t) => {
    const clock = createClock();
    const { store, directory } = await createFileStore(t, { clock });
    const reader = await openFileReader(directory, clock);
    await check.run(readThrough(store, reader), "scratch/", clock);
    t.pass();
  });
}

test("file reader - changes nothing: no lock, no file, no time of a file", async (t) => {
  const { store, directory } = await createFileStore(t);
  const etag = await store.createPages(segment, 4 * pageBytes, fence);
  await store.writePages(segment, 0, filledBytes(pageBytes, 1), etag, fence);
  await store.put("streams/Orders/stream.json", Buffer.from("{}"), "always");
  await fs.writeFile(path.join(directory, "~tmp", "9"), "under way");
  const before = await takeSnapshot(directory);
  const reader = await openFileReader(directory, systemClock);
  await useAll(reader);
  await reader.close();
  t.deepEqual(await takeSnapshot(directory), before);
  await store.close();
  const closed = await takeSnapshot(directory);
  await useAll(await openFileReader(directory, systemClock));
  t.deepEqual(await takeSnapshot(directory), closed);
  t.true(Object.keys(closed).length > 5);
});

async function useAll(reader: BlobReader): Promise<void> {
  for (const { name } of (await reader.list("", 10)).items) {
    await reader.properties(name);
    await reader.read(name, 0, 10 * pageBytes);
    await reader.get(name);
  }
  await reader.listFolders("streams/", 10);
  await reader.properties("streams/none");
  await reader.properties("streams/Orders");
}

test("file reader - a version stays while the file does, and changes with every change", async (t) => {
  const { store, directory } = await createFileStore(t);
  const reader = await openFileReader(directory, createClock({ startAt: systemClock.now() + 60_000 }));
  const look = async (name: string) => {
    const etag = (await reader.properties(name))!.etag;
    t.is((await reader.properties(name))?.etag, etag);
    t.is((await reader.read(name, 0, 1)).etag, etag);
    t.is((await reader.get(name))?.etag, etag);
    return etag;
  };
  const seen: string[] = [];
  let etag = await store.createPages("pages", 4 * pageBytes, fence);
  seen.push(await look("pages"));
  etag = await store.writePages("pages", 0, filledBytes(pageBytes, 1), etag, fence);
  seen.push(await look("pages"));
  etag = await store.clearPages("pages", 0, 4 * pageBytes, etag, fence);
  seen.push(await look("pages"));
  await store.raiseFence("pages", etag, heldFence(4));
  seen.push(await look("pages"));
  await store.put("block", Buffer.from("one"), "always");
  seen.push(await look("block"));
  await store.put("block", Buffer.from("two"), "always");
  seen.push(await look("block"));
  t.is(new Set(seen).size, seen.length);
});

test("file reader - a version of what changed a moment ago is never met again", async (t) => {
  const { store, directory } = await createFileStore(t);
  await store.put("block", Buffer.from("one"), "always");
  const { ctimeMs } = await fs.stat(path.join(directory, "block"));
  for (const [laterMs, same] of [
    [0, false],
    [freshMs - 2, false],
    [-60_000, false],
    [freshMs + 1, true],
  ] as const) {
    const reader = await openFileReader(directory, createClock({ startAt: Math.ceil(ctimeMs) + laterMs }));
    const etags = [await reader.properties("block"), await reader.properties("block")].map((found) => found?.etag);
    t.is(etags[0] === etags[1], same, `${laterMs} ms later`);
  }
});

test("file reader - a torn header is read again, and a file that changed meanwhile has a version of its own", async (t) => {
  const { store, directory } = await createFileStore(t);
  await store.createPages("pages", 4 * pageBytes, fence);
  const file = await fs.open(path.join(directory, "pages"), "r+");
  t.teardown(() => file.close());
  const header = Buffer.alloc(headerBytes);
  await file.read(header, 0, headerBytes, 0);
  await file.write(
    Buffer.from(header)
      .fill(9, 20, 40)
      .fill(9, slotBytes + 20, slotBytes + 40),
    0,
    headerBytes,
    0,
  );
  const clock = createClock({ startAt: systemClock.now() + 3_600_000 });
  // Between two reads of the header it is written to its end.
  const turn = async () => void (await file.write(header, 0, headerBytes, 0));
  const reader = await openFileReader(directory, { ...clock, turn });
  const changed = await reader.properties("pages");
  t.is(changed?.sequenceNumber, 3);
  const still = await reader.properties("pages");
  t.not(changed?.etag, still?.etag);
  t.is((await reader.properties("pages"))?.etag, still?.etag);
});

test("file reader - a header that is being replaced is whole at every look", async (t) => {
  const { store, directory } = await createFileStore(t);
  const reader = await openFileReader(directory, systemClock);
  let etag = await store.createPages(segment, 4 * pageBytes, heldFence(1));
  const raising = (async () => {
    for (let epoch = 2; epoch <= 200; epoch++) ({ etag } = await store.raiseFence(segment, etag, heldFence(epoch)));
  })();
  let last = 1;
  let looks = 0;
  while (last < 200) {
    const { sequenceNumber } = (await reader.properties(segment))!;
    t.true(sequenceNumber >= last);
    last = sequenceNumber;
    looks++;
  }
  await raising;
  t.true(looks > 10);
  t.is((await reader.properties(segment))?.sequenceNumber, 200);
});

test("file reader - one damaged slot shows the other; two are corrupt, and listed all the same", async (t) => {
  const { store, directory } = await createFileStore(t);
  const etag = await store.createPages("pages", 4 * pageBytes, heldFence(1));
  await store.raiseFence("pages", etag, heldFence(2));
  const reader = await openFileReader(directory, systemClock);
  const file = await fs.open(path.join(directory, "pages"), "r+");
  t.teardown(() => file.close());
  await file.write(Buffer.alloc(20, 9), 0, 20, 100 - 80);
  t.is((await reader.properties("pages"))?.sequenceNumber, 1);
  await file.write(Buffer.alloc(20, 9), 0, 20, slotBytes + 20);
  const error = await t.throwsAsync(reader.properties("pages"), { instanceOf: VaultError });
  t.is(error.kind, "corrupt");
  t.is(error.detail.resource, "pages");
  t.deepEqual(
    (await reader.list("", 10)).items.map(({ name }) => name),
    ["pages"],
  );
});

test("file reader - a file that is cut short is zero behind its end", async (t) => {
  const { store, directory } = await createFileStore(t);
  const etag = await store.createPages("pages", 4 * pageBytes, fence);
  await store.writePages("pages", 0, filledBytes(pageBytes, 1), etag, fence);
  await fs.truncate(path.join(directory, "pages"), headerBytes + 100);
  const reader = await openFileReader(directory, systemClock);
  const { bytes } = await reader.read("pages", 0, 5 * pageBytes);
  t.deepEqual(bytes, Buffer.concat([filledBytes(pageBytes, 1).subarray(0, 100), Buffer.alloc(4 * pageBytes - 100)]));
});

test("file reader - a blob that was removed is not found, and not listed", async (t) => {
  const { store, directory } = await createFileStore(t);
  await store.createPages(segment, pageBytes, fence);
  const reader = await openFileReader(directory, systemClock);
  await store.remove(segment);
  const error = await t.throwsAsync(reader.read(segment, 0, 1), { instanceOf: VaultError });
  t.is(error.kind, "notFound");
  t.is(await reader.properties(segment), undefined);
  t.is(await reader.get(segment), undefined);
  t.deepEqual((await reader.list("", 10)).items, []);
  t.deepEqual((await reader.listFolders("streams/", 10)).items, []);
});

test("file reader - a directory that does not exist, or is none, is invalid, and is not made", async (t) => {
  const directory = await createDirectory(t);
  await fs.writeFile(path.join(directory, "file"), "");
  for (const target of ["none", "file", "file/none"].map((name) => path.join(directory, name))) {
    const error = await t.throwsAsync(openFileReader(target, systemClock), { instanceOf: VaultError });
    t.is(error.kind, "invalid");
    t.true(error.message.includes(target));
  }
  t.deepEqual(await fs.readdir(directory), ["file"]);
});
