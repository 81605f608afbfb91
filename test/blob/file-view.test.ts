import test from "ava";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { openFileView } from "../../src/blob/file-view.ts";
import { openFileStore } from "../../src/blob/file.ts";
import { systemClock } from "../../src/clock.ts";
import { isKind } from "../../src/errors.ts";
import { createClock } from "../support/create-clock.ts";
import { createDirectory } from "../support/create-directory.ts";

const fence = { epoch: 3, assertHeld: () => undefined };

test("file view - shows what a store that is in use holds, and changes nothing", async (t) => {
  const directory = await createDirectory(t);
  const store = await openFileStore(directory, systemClock);
  t.teardown(() => store.close());
  const etag = await store.createPages("streams/Big/1.segment", 4 * pageBytes, fence);
  await store.writePages("streams/Big/1.segment", pageBytes, Buffer.alloc(pageBytes, 7), etag, fence);
  await store.put("streams/Big/stream.json", Buffer.from("{}"), "always");
  const view = await openFileView(directory, systemClock);
  t.deepEqual((await view.list("", 10)).items, (await store.list("", 10)).items);
  t.deepEqual((await view.listFolders("streams/", 10)).items, ["streams/Big"]);
  t.deepEqual((await view.get("streams/Big/stream.json"))?.bytes, Buffer.from("{}"));
  const { bytes } = await view.read("streams/Big/1.segment", pageBytes - 1, 10 * pageBytes);
  t.deepEqual(bytes, (await store.read("streams/Big/1.segment", pageBytes - 1, 10 * pageBytes)).bytes);
  t.like(await view.properties("streams/Big/1.segment"), { sizeBytes: 4 * pageBytes, sequenceNumber: 3 });
  t.is(await view.properties("streams/none"), undefined);
  t.is(await view.get("streams/Big"), undefined);
  t.true(isKind(await t.throwsAsync(view.read("streams/none", 0, 1)), "notFound"));
  t.true(isKind(await t.throwsAsync(view.put("a", Buffer.from("b"), "always")), "denied"));
  t.true(isKind(await t.throwsAsync(view.remove("streams/Big/stream.json")), "denied"));
});

test("file view - a version says whether a blob was changed, and is not believed of one just changed", async (t) => {
  const directory = await createDirectory(t);
  const store = await openFileStore(directory, systemClock);
  t.teardown(() => store.close());
  await store.put("a", Buffer.from("one"), "always");
  const later = createClock({ startAt: systemClock.now() + 60_000 });
  const view = await openFileView(directory, later);
  const first = (await view.properties("a"))?.etag;
  t.is((await view.properties("a"))?.etag, first);
  await store.put("a", Buffer.from("two"), "always");
  t.not((await view.properties("a"))?.etag, first);
  const atOnce = await openFileView(directory, createClock({ startAt: systemClock.now() }));
  t.not((await atOnce.properties("a"))?.etag, (await atOnce.properties("a"))?.etag);
});
