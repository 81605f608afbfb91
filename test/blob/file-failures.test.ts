import test from "ava";
import type { ExecutionContext } from "ava";
import fs from "node:fs/promises";
import path from "node:path";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { filledBytes, heldFence } from "../../src/blob/contract-check.ts";
import type { ErrorKind } from "../../src/errors.ts";
import { VaultError } from "../../src/errors.ts";
import { createFailingFileSystem } from "../support/create-failing-file-system.ts";
import { createFileStore } from "../support/create-file-store.ts";

const fence = heldFence(1);
const name = "streams/a/1/0.segment";

async function rejectsWith(t: ExecutionContext, kind: ErrorKind, promise: Promise<unknown>): Promise<VaultError> {
  const error = await t.throwsAsync(promise, { instanceOf: VaultError });
  t.is(error.kind, kind, error.message);
  return error;
}

async function createFailingStore(t: ExecutionContext) {
  const files = createFailingFileSystem();
  const { store, directory } = await createFileStore(t, { fileSystem: files.fileSystem, limits: { openFilesMax: 3 } });
  const created = await store.createPages(name, 8 * pageBytes, fence);
  const etag = await store.writePages(name, 0, filledBytes(pageBytes, 1), created, fence);
  return { files, store, directory, etag };
}

for (const code of ["ENOSPC", "EDQUOT"]) {
  test(`file store - ${code} before the first byte is overloaded, and nothing was changed`, async (t) => {
    const { files, store, etag } = await createFailingStore(t);
    files.fail("write", code);
    const error = await rejectsWith(t, "overloaded", store.writePages(name, 0, filledBytes(pageBytes, 2), etag, fence));
    t.regex(error.message, /full/);
    t.deepEqual((await store.read(name, 0, pageBytes)).bytes, filledBytes(pageBytes, 1));
    await store.writePages(name, 0, filledBytes(pageBytes, 3), etag, fence);
    files.fail("write", code);
    await rejectsWith(t, "overloaded", store.put("x.json", Buffer.from("x"), "always"));
    t.is(await store.get("x.json"), undefined);
  });
}

test("file store - a full disk in the middle of a write is indeterminate, and ends every earlier version", async (t) => {
  const { files, store, etag } = await createFailingStore(t);
  files.shorten(pageBytes);
  files.fail("write", "ENOSPC", { after: 1 });
  const bytes = filledBytes(4 * pageBytes, 2);
  await rejectsWith(t, "indeterminate", store.writePages(name, 0, bytes, etag, fence));
  await rejectsWith(t, "conflict", store.writePages(name, 0, bytes, etag, fence));
  const found = await store.properties(name);
  await store.writePages(name, 0, bytes, found?.etag ?? "", fence);
  t.deepEqual((await store.read(name, 0, 4 * pageBytes)).bytes, bytes);
});

test("file store - after a failed sync nothing of the range is shown before it was written and synced again", async (t) => {
  const { files, store, etag } = await createFailingStore(t);
  files.fail("datasync", "EIO", { count: 3 });
  const bytes = filledBytes(pageBytes, 2);
  await rejectsWith(t, "indeterminate", store.writePages(name, 0, bytes, etag, fence));
  // The disk still fails: neither a read nor a change gets by.
  await rejectsWith(t, "unavailable", store.read(name, 0, pageBytes));
  await rejectsWith(t, "unavailable", store.raiseFence(name, etag, heldFence(2)));
  // It is back: what the cache shows was made durable, so the write may be seen.
  const read = await store.read(name, 0, pageBytes);
  t.deepEqual(read.bytes, bytes);
  await rejectsWith(t, "conflict", store.writePages(name, 0, bytes, etag, fence));
  const raised = await store.raiseFence(name, read.etag, heldFence(2));
  t.is(raised.sequenceNumber, 2);
});

test("file store - after a failed sync of the header the number is the old or the new one, read again", async (t) => {
  const { files, store, etag } = await createFailingStore(t);
  files.fail("datasync", "EIO");
  await rejectsWith(t, "indeterminate", store.raiseFence(name, etag, heldFence(5)));
  const found = await store.properties(name);
  t.is(found?.sequenceNumber, 5);
  t.not(found?.etag, etag);
  files.fail("write", "EIO");
  await rejectsWith(t, "indeterminate", store.raiseFence(name, found?.etag ?? "", heldFence(7)));
  t.is((await store.properties(name))?.sequenceNumber, 5);
});

test("file store - a create or put that fails before its rename is not there; one whose sync failed may be", async (t) => {
  const { files, store, directory } = await createFailingStore(t);
  files.fail("rename", "EIO");
  await rejectsWith(t, "unavailable", store.createPages("new", pageBytes, fence));
  files.fail("datasync", "EIO");
  await rejectsWith(t, "unavailable", store.put("new", Buffer.from("x"), "always"));
  t.is(await store.properties("new"), undefined);
  t.deepEqual(await fs.readdir(path.join(directory, "~tmp")), []);
  await store.put("old", Buffer.from("x"), "always");
  files.fail("syncDirectory", "EIO");
  await rejectsWith(t, "indeterminate", store.put("old", Buffer.from("y"), "always"));
  t.is((await store.get("old"))?.bytes.toString(), "y");
});

test("file store - reads and opens that fail are unavailable, and work when the disk is back", async (t) => {
  const { files, store, etag } = await createFailingStore(t);
  files.fail("read", "EIO");
  await rejectsWith(t, "unavailable", store.read(name, 0, pageBytes));
  t.is((await store.read(name, 0, pageBytes)).etag, etag);
  for (let index = 0; index < 4; index += 1) await store.createControl(`other${index}`, {});
  for (let index = 0; index < 4; index += 1) await store.read(`other${index}`, 0, 1);
  files.fail("open", "EMFILE");
  await rejectsWith(t, "unavailable", store.writePages(name, 0, filledBytes(pageBytes, 2), etag, fence));
  await store.writePages(name, 0, filledBytes(pageBytes, 2), etag, fence);
});

test("file store - no more files than the limit stay open, however many are used at once", async (t) => {
  const { files, store } = await createFailingStore(t);
  const names = Array.from({ length: 20 }, (_, index) => `many/${index}`);
  await Promise.all(names.map((blob) => store.createPages(blob, pageBytes, fence)));
  for (let round = 0; round < 3; round += 1) {
    await Promise.all(names.slice(round).map((blob) => store.read(blob, 0, pageBytes)));
    const removed = names[round] ?? "";
    await Promise.all([store.read(removed, 0, 1).catch(() => {}), store.remove(removed)]);
  }
  // One more use, so that what was in use at the limit is closed.
  await store.read(names[19] ?? "", 0, 1);
  t.true(files.openCount() <= 3, `${files.openCount()} files are open`);
  await store.close();
  t.is(files.openCount(), 0);
});

test("file store - a read that a change overlaps gets a version that nothing else has", async (t) => {
  const { store, etag } = await createFailingStore(t);
  const write = store.writePages(name, 0, filledBytes(pageBytes, 2), etag, fence);
  const read = await store.read(name, 0, pageBytes);
  const written = await write;
  t.not(read.etag, etag);
  t.not(read.etag, written);
  t.is((await store.read(name, 0, pageBytes)).etag, written);
});

test("file store - of more blobs than it remembers some get a new version, a leased one never", async (t) => {
  const { store } = await createFileStore(t, { limits: { knownBlobsMax: 4 } });
  const etag = await store.createControl("leader", {});
  await store.acquireLease("leader", "0".repeat(32), 60);
  const first = await store.put("0", Buffer.from("0"), "always");
  for (let index = 1; index < 10; index += 1) await store.put(`${index}`, Buffer.from("x"), "always");
  const leader = await store.properties("leader");
  t.is(leader?.etag, etag);
  t.true(leader?.leased);
  const found = await store.get("0");
  t.not(found?.etag, first);
  t.is(found?.bytes.toString(), "0");
  await rejectsWith(t, "conflict", store.put("0", Buffer.from("1"), { ifMatch: first }));
});

test("file store - a file that is shorter than its header says reads as zeros behind its end", async (t) => {
  const { store, directory, etag } = await createFailingStore(t);
  await fs.truncate(path.join(directory, name), 4096 + pageBytes);
  const read = await store.read(name, 0, 8 * pageBytes);
  t.deepEqual(read.bytes, Buffer.concat([filledBytes(pageBytes, 1), Buffer.alloc(7 * pageBytes)]));
  await store.writePages(name, 7 * pageBytes, filledBytes(pageBytes, 2), etag, fence);
  t.deepEqual((await store.read(name, 7 * pageBytes, pageBytes)).bytes, filledBytes(pageBytes, 2));
});

test("file store - a header with both slots damaged is corrupt; a block blob cannot pass for one", async (t) => {
  const { store, directory } = await createFailingStore(t);
  const header = (await fs.readFile(path.join(directory, name))).subarray(0, 4096);
  await rejectsWith(t, "invalid", store.put("block", header, "always"));
  await store.close();
  const file = await fs.open(path.join(directory, name), "r+");
  for (const position of [20, 2068]) await file.write(Buffer.from("damaged"), 0, 7, position);
  await file.close();
  const { store: again } = await createFileStore(t, { directory });
  await rejectsWith(t, "corrupt", again.properties(name));
  await rejectsWith(t, "corrupt", again.read(name, 0, 1));
});
