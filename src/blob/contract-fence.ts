import { VaultError } from "../errors.ts";
import type { BlobStore, Fence } from "./blob-store.ts";
import { pageBytes } from "./blob-store.ts";
import type { ContractCheck } from "./contract-check.ts";
import { expectEqual, expectRejection, filledBytes, heldFence, outcomeOf } from "./contract-check.ts";

const sizeBytes = 64 * 1024;

/** What the safety of the log rests on: version, sequence number, and that both are judged when a change is applied. */
export const fenceChecks: readonly ContractCheck[] = [
  {
    title: "conditions - a version that was replaced is refused and nothing is changed",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const fence = heldFence(2);
      const stale = await store.createPages(name, sizeBytes, fence);
      const bytes = filledBytes(pageBytes, 1);
      const etag = await store.writePages(name, 0, bytes, stale, fence);
      const write = store.writePages(name, 0, filledBytes(pageBytes, 2), stale, fence);
      await expectRejection("write", write, "conflict", "etag");
      await expectRejection("clear", store.clearPages(name, 0, pageBytes, stale, fence), "conflict", "etag");
      await expectRejection("raise", store.raiseFence(name, stale, heldFence(3)), "conflict", "etag");
      const read = await store.read(name, 0, pageBytes);
      expectEqual("bytes", read.bytes, bytes);
      expectEqual("version", read.etag, etag);
      expectEqual("sequence number", (await store.properties(name))?.sequenceNumber, 2);
    },
  },
  {
    title: "conditions - an epoch above or below the sequence number is refused under the right version",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const etag = await store.createPages(name, sizeBytes, heldFence(5));
      for (const epoch of [4, 6]) {
        const write = store.writePages(name, 0, filledBytes(pageBytes, 1), etag, heldFence(epoch));
        await expectRejection(`write of epoch ${epoch}`, write, "conflict", "sequenceNumber");
        const clear = store.clearPages(name, 0, pageBytes, etag, heldFence(epoch));
        await expectRejection(`clear of epoch ${epoch}`, clear, "conflict", "sequenceNumber");
      }
      await store.writePages(name, 0, filledBytes(pageBytes, 1), etag, heldFence(5));
    },
  },
  {
    title: "conditions - of eight writes under one version exactly one is carried out",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const fence = heldFence(1);
      let etag = await store.createPages(name, sizeBytes, fence);
      for (let round = 0; round < 5; round += 1) {
        const version = etag;
        const writes = Array.from({ length: 8 }, (_, index) =>
          store.writePages(name, 0, filledBytes(4 * pageBytes, round * 8 + index), version, fence),
        );
        const outcomes = await Promise.all(writes.map(outcomeOf));
        expectEqual("outcomes", outcomes.toSorted(), [...Array<string>(7).fill("conflict (etag)"), "done"]);
        const winner = outcomes.indexOf("done");
        etag = await Promise.any(writes);
        const read = await store.read(name, 0, 4 * pageBytes);
        expectEqual("bytes of the winner", read.bytes, filledBytes(4 * pageBytes, round * 8 + winner));
        expectEqual("version of the winner", read.etag, etag);
      }
    },
  },
  {
    title: "raise - takes the number to the epoch, and ends every earlier version and epoch",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const created = await store.createPages(name, sizeBytes, heldFence(1));
      const raised = await store.raiseFence(name, created, heldFence(4));
      expectEqual("number", raised.sequenceNumber, 4);
      const found = await store.properties(name);
      expectEqual("number told", found?.sequenceNumber, 4);
      expectEqual("version told", found?.etag, raised.etag);
      const bytes = filledBytes(pageBytes, 1);
      await expectRejection("old version", store.writePages(name, 0, bytes, created, heldFence(4)), "conflict", "etag");
      const old = store.writePages(name, 0, bytes, raised.etag, heldFence(1));
      await expectRejection("old epoch", old, "conflict", "sequenceNumber");
      await store.writePages(name, 0, bytes, raised.etag, heldFence(4));
    },
  },
  {
    title: "raise - to the number it has already still changes the version",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const fence = heldFence(4);
      const created = await store.createPages(name, sizeBytes, fence);
      const raised = await store.raiseFence(name, created, fence);
      expectEqual("number", raised.sequenceNumber, 4);
      expectEqual("version changed", raised.etag !== created, true);
      const write = store.writePages(name, 0, filledBytes(pageBytes, 1), created, fence);
      await expectRejection("old version", write, "conflict", "etag");
    },
  },
  {
    title: "raise - never lowers the number, tells the higher one, and keeps the bytes",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const created = await store.createPages(name, sizeBytes, heldFence(7));
      const bytes = filledBytes(pageBytes, 1);
      const written = await store.writePages(name, 0, bytes, created, heldFence(7));
      const raised = await store.raiseFence(name, written, heldFence(6));
      expectEqual("number", raised.sequenceNumber, 7);
      const read = await store.read(name, 0, pageBytes);
      expectEqual("bytes", read.bytes, bytes);
      expectEqual("version", read.etag, raised.etag);
    },
  },
  {
    title: "raise - large epochs are kept exactly",
    async run(store, prefix) {
      const epoch = 2 ** 40 + 1;
      const etag = await store.createPages(`${prefix}blob`, pageBytes, heldFence(epoch));
      expectEqual("number", (await store.raiseFence(`${prefix}blob`, etag, heldFence(1))).sequenceNumber, epoch);
      for (const wrong of [0, -1, 1.5, Number.NaN]) {
        const create = store.createPages(`${prefix}other`, pageBytes, heldFence(wrong));
        await expectRejection(`epoch ${wrong}`, create, "invalid");
      }
    },
  },
  {
    title: "raise - a stale writer with writes under way is cut off, and what it had acknowledged stays",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const created = await store.createPages(name, sizeBytes, heldFence(1));
      const { acknowledged, raised } = await raiseAmongWrites(store, name, created);
      const expected = Buffer.alloc(sizeBytes);
      for (const [page, bytes] of acknowledged) bytes.copy(expected, page * pageBytes);
      const late = store.writePages(name, 0, filledBytes(pageBytes, 9), raised, heldFence(1));
      await expectRejection("a late write", late, "conflict", "sequenceNumber");
      const after = await store.read(name, 0, sizeBytes);
      expectEqual("bytes after the raise", after.bytes, expected);
      expectEqual("version after the raise", after.etag, raised);
    },
  },
  {
    title: "fence - one that is not held keeps a change from being sent",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const lost: Fence = {
        epoch: 1,
        assertHeld() {
          throw new VaultError("fenced", "a newer leader took over");
        },
      };
      const etag = await store.createPages(name, sizeBytes, heldFence(1));
      await expectRejection("create", store.createPages(`${prefix}other`, sizeBytes, lost), "fenced");
      await expectRejection("write", store.writePages(name, 0, filledBytes(pageBytes, 1), etag, lost), "fenced");
      await expectRejection("clear", store.clearPages(name, 0, pageBytes, etag, lost), "fenced");
      await expectRejection("raise", store.raiseFence(name, etag, { ...lost, epoch: 2 }), "fenced");
      expectEqual("other", await store.properties(`${prefix}other`), undefined);
      expectEqual("version", (await store.properties(name))?.etag, etag);
    },
  },
];

const roundsMax = 100;

/** Rounds of four writes of epoch 1 and a raise to 2, all under one version, until it is the raise that wins. */
async function raiseAmongWrites(store: BlobStore, name: string, created: string) {
  const acknowledged = new Map<number, Buffer>();
  let etag = created;
  for (let round = 0; round < roundsMax; round += 1) {
    const version = etag;
    const page = round % (sizeBytes / pageBytes);
    const contents = [0, 1, 2, 3].map((index) => filledBytes(pageBytes, round * 4 + index));
    const starts = contents.map(
      (bytes) => () => store.writePages(name, page * pageBytes, bytes, version, heldFence(1)),
    );
    // Behind one write less each round, so that it also wins where changes are carried out as they were asked for.
    const raisedAt = Math.max(0, 4 - round);
    starts.splice(raisedAt, 0, async () => (await store.raiseFence(name, version, heldFence(2))).etag);
    const changes = starts.map((start) => start());
    const outcomes = await Promise.all(changes.map(outcomeOf));
    // Whoever comes after the raise fails both conditions: either may be named.
    const refused = outcomes.filter((outcome) => outcome.startsWith("conflict (")).length;
    expectEqual("refused", refused, 4);
    const winner = outcomes.indexOf("done");
    etag = await Promise.any(changes);
    if (winner === raisedAt) return { acknowledged, raised: etag };
    acknowledged.set(page, contents[winner > raisedAt ? winner - 1 : winner] ?? Buffer.alloc(0));
  }
  throw new Error(`the raise lost ${roundsMax} rounds against four writes each`);
}
