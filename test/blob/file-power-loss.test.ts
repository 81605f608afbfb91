import test from "ava";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { pageBytes } from "../../src/blob/blob-store.ts";
import { filledBytes, heldFence } from "../../src/blob/contract-check.ts";
import { openFileStore } from "../../src/blob/file.ts";
import { VaultError } from "../../src/errors.ts";
import { createClock, createRandom } from "../support/create-clock.ts";
import type { Mount } from "../support/create-lossy-file-system.ts";
import { createLossyFileSystem } from "../support/create-lossy-file-system.ts";

const sizeBytes = 8 * pageBytes;
const sectorBytes = 512;
const controlName = "cluster/leader";

interface State {
  readonly bytes: Buffer;
  readonly sequenceNumber: number;
  /** Of the control blob: longer than a sector, so that a torn header shows. */
  readonly note?: string | undefined;
}

/** A blob as it must be: the one state, or while a change is under way that one or the other (or, torn, between). */
interface Expected {
  readonly name: string;
  before: State | undefined;
  after: State | undefined;
}

async function look(store: BlobStore, name: string): Promise<State | undefined> {
  const found = await store.properties(name);
  if (found === undefined) return undefined;
  const { bytes } = await store.read(name, 0, found.sizeBytes);
  return { bytes, sequenceNumber: found.sequenceNumber, note: found.metadata["note"] };
}

/** What is wrong with what was found; undefined if nothing is. */
function difference({ name, before, after }: Expected, found: State | undefined): string | undefined {
  if (found === undefined) {
    return before !== undefined && after !== undefined ? `${name} is gone` : undefined;
  }
  const allowed = [before, after].filter((state) => state !== undefined);
  if (allowed.length === 0) return `${name} came from nowhere, or back`;
  if (!allowed.some((state) => state.sequenceNumber === found.sequenceNumber)) {
    return `${name} has the sequence number ${found.sequenceNumber}`;
  }
  if (!allowed.some(({ note }) => note === found.note)) return `${name} has other metadata`;
  if (!name.endsWith(".segment")) {
    return allowed.some(({ bytes }) => bytes.equals(found.bytes)) ? undefined : `${name} has other bytes`;
  }
  for (let at = 0; at < sizeBytes; at += sectorBytes) {
    const sector = found.bytes.subarray(at, at + sectorBytes);
    if (!allowed.some(({ bytes }) => bytes.subarray(at, at + sectorBytes).equals(sector))) return `${name} at ${at}`;
  }
  return undefined;
}

/** Chooses a change of a blob: what it leads to, and how to ask for it. */
function chooseChange(expected: Expected, random: () => number) {
  const { name, before } = expected;
  const number = Math.floor(random() * 1e6);
  if (name === controlName) {
    const note = `${number}.`.repeat(100).slice(0, 700);
    return {
      after: { bytes: Buffer.alloc(pageBytes), sequenceNumber: 0, note },
      ask: async (store: BlobStore) => {
        if (before === undefined) await store.createControl(name, { note });
        else await store.setMetadata(name, { note }, await etagOf(store, name));
      },
    };
  }
  if (!name.endsWith(".segment")) {
    if (before !== undefined && random() < 0.3) return remove(name);
    const bytes = filledBytes(1 + (number % 9000), number);
    return {
      after: { bytes, sequenceNumber: 0 },
      ask: (store: BlobStore) => store.put(name, bytes, "always"),
    };
  }
  if (before === undefined) {
    return {
      after: { bytes: Buffer.alloc(sizeBytes), sequenceNumber: 1 },
      ask: (store: BlobStore) => store.createPages(name, sizeBytes, heldFence(1)),
    };
  }
  const dice = random();
  if (dice < 0.15) return remove(name);
  const epoch = before.sequenceNumber;
  if (dice < 0.3) {
    return {
      after: { ...before, sequenceNumber: epoch + 1 },
      ask: async (store: BlobStore) => store.raiseFence(name, await etagOf(store, name), heldFence(epoch + 1)),
    };
  }
  const position = (number % 7) * pageBytes;
  const lengthBytes = dice < 0.45 && number % 2 === 0 ? sizeBytes - position : pageBytes * (1 + (number % 2));
  const piece = dice < 0.45 ? Buffer.alloc(lengthBytes) : filledBytes(lengthBytes, number);
  const bytes = Buffer.from(before.bytes);
  piece.copy(bytes, position);
  return {
    after: { ...before, bytes },
    ask: async (store: BlobStore) => {
      const etag = await etagOf(store, name);
      if (dice < 0.45) await store.clearPages(name, position, lengthBytes, etag, heldFence(epoch));
      else await store.writePages(name, position, piece, etag, heldFence(epoch));
    },
  };
}

function remove(name: string) {
  return { after: undefined, ask: (store: BlobStore) => store.remove(name) };
}

async function etagOf(store: BlobStore, name: string): Promise<string> {
  return (await store.properties(name))?.etag ?? "";
}

/** Changes a blob over and over until the process is gone. */
async function changeUntilCut(store: BlobStore, expected: Expected, random: () => number): Promise<void> {
  for (;;) {
    const change = chooseChange(expected, random);
    expected.after = change.after;
    try {
      await change.ask(store);
    } catch (error) {
      if (error instanceof VaultError && ["indeterminate", "unavailable"].includes(error.kind)) return;
      throw error;
    }
    expected.before = change.after;
  }
}

async function checkAll(store: BlobStore, blobs: Expected[], listToo: boolean): Promise<string[]> {
  const differences: string[] = [];
  for (const expected of blobs) {
    const found = await look(store, expected.name);
    const wrong = difference(expected, found);
    if (wrong !== undefined) differences.push(wrong);
    // What was shown once must stay.
    expected.before = found;
    expected.after = found;
  }
  if (!listToo) return differences;
  const listed = (await store.list("", 100)).items.map(({ name }) => name);
  const there = blobs.filter(({ before }) => before !== undefined).map(({ name }) => name);
  if (listed.join() !== there.toSorted().join()) differences.push(`listed: ${listed.join()}`);
  return differences;
}

for (let seed = 1; seed <= 8; seed += 1) {
  test(`file store - what was acknowledged outlives twelve crashes (seed ${seed})`, async (t) => {
    const random = createRandom(seed);
    const clock = createClock({ seed });
    const files = await createLossyFileSystem(t);
    const names = [controlName, "streams/A/1/0.segment", "streams/A/1/9.segment", "streams/A/stream.json"];
    names.push("streams/b/stream.json", "streams/b/2/0.index", "top.json");
    const blobs: Expected[] = names.map((name) => ({ name, before: undefined, after: undefined }));
    for (let round = 0; round < 12; round += 1) {
      const mount: Mount = files.mount();
      const store = await openFileStore(files.directory, clock, mount.fileSystem, { openFilesMax: 2 });
      t.deepEqual(await checkAll(store, blobs, random() < 0.5), [], `round ${round}`);
      mount.cutAfter(1 + Math.floor(random() * 120));
      await Promise.all(blobs.map((expected) => changeUntilCut(store, expected, random)));
      await store.close();
      // Else only the process was killed, and the next one sees what the cache holds.
      if (random() < 0.7) await files.crash(seed * 1000 + round);
    }
  });
}

test("file store - a process that is killed while it opens leaves a store that opens", async (t) => {
  const clock = createClock();
  const files = await createLossyFileSystem(t);
  const first = files.mount();
  const store = await openFileStore(files.directory, clock, first.fileSystem);
  await store.put("a/b", Buffer.from("kept"), "always");
  await store.close();
  for (let operations = 1; operations < 6; operations += 1) {
    const mount = files.mount();
    mount.cutAfter(operations);
    const opened = openFileStore(files.directory, clock, mount.fileSystem);
    await opened.then((half) => half.close()).catch((error: unknown) => t.true(error instanceof VaultError));
    await files.crash(operations);
  }
  const last = await openFileStore(files.directory, clock, files.mount().fileSystem);
  t.is((await last.get("a/b"))?.bytes.toString(), "kept");
  await last.close();
});
