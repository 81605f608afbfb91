import { blobBytesMax, pageBytes, writeBytesMax } from "./blob-store.ts";
import type { ContractCheck } from "./contract-check.ts";
import { expectEqual, expectRejection, filledBytes, heldFence, nameAndSize } from "./contract-check.ts";

const fence = heldFence(3);
const sizeBytes = 64 * 1024;

/** Page blobs: sizes, alignment, reads, clears. */
export const pageChecks: readonly ContractCheck[] = [
  {
    title: "create pages - full of zeros, with the epoch as sequence number",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const etag = await store.createPages(name, sizeBytes, fence);
      const found = await store.properties(name);
      expectEqual("etag", found?.etag, etag);
      expectEqual("size", found?.sizeBytes, sizeBytes);
      expectEqual("sequence number", found?.sequenceNumber, 3);
      expectEqual("metadata", found?.metadata, {});
      expectEqual("leased", found?.leased, false);
      const read = await store.read(name, 0, sizeBytes);
      expectEqual("bytes", read.bytes, Buffer.alloc(sizeBytes));
      expectEqual("etag of the read", read.etag, etag);
    },
  },
  {
    title: "create pages - over a page blob or a block blob is refused and changes nothing",
    async run(store, prefix) {
      const etag = await store.createPages(`${prefix}pages`, sizeBytes, fence);
      const written = await store.writePages(`${prefix}pages`, 0, filledBytes(pageBytes, 1), etag, fence);
      await expectRejection(
        "create over pages",
        store.createPages(`${prefix}pages`, sizeBytes, heldFence(9)),
        "alreadyExists",
      );
      expectEqual("etag", (await store.properties(`${prefix}pages`))?.etag, written);
      await store.put(`${prefix}block`, Buffer.from("x"), "always");
      await expectRejection(
        "create over a block",
        store.createPages(`${prefix}block`, sizeBytes, fence),
        "alreadyExists",
      );
    },
  },
  {
    title: "create pages - sizes that are no whole pages or too large are refused",
    async run(store, prefix) {
      for (const size of [0, -pageBytes, 1, pageBytes - 1, pageBytes + 1, 512, blobBytesMax + pageBytes]) {
        await expectRejection(`size ${size}`, store.createPages(`${prefix}blob`, size, fence), "invalid");
      }
      expectEqual("blob", await store.properties(`${prefix}blob`), undefined);
      await store.createPages(`${prefix}blob`, pageBytes, fence);
    },
  },
  {
    title: "create pages - a blob that was removed can be made again, with a lower number and another version",
    async run(store, prefix) {
      const first = await store.createPages(`${prefix}blob`, sizeBytes, fence);
      const written = await store.writePages(`${prefix}blob`, 0, filledBytes(pageBytes, 1), first, fence);
      await store.remove(`${prefix}blob`);
      const again = await store.createPages(`${prefix}blob`, sizeBytes, heldFence(1));
      expectEqual("same version", again === first || again === written, false);
      expectEqual("sequence number", (await store.properties(`${prefix}blob`))?.sequenceNumber, 1);
      expectEqual("bytes", (await store.read(`${prefix}blob`, 0, pageBytes)).bytes, Buffer.alloc(pageBytes));
    },
  },
  {
    title: "write pages - positions and lengths at the limits, and one beside them",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const size = writeBytesMax + 2 * pageBytes;
      let etag = await store.createPages(name, size, fence);
      const refused = [
        [1, pageBytes],
        [512, pageBytes],
        [pageBytes - 1, pageBytes],
        [-pageBytes, pageBytes],
        [0, 0],
        [0, pageBytes - 1],
        [0, pageBytes + 1],
        [0, 512],
        [0, writeBytesMax + pageBytes],
        [size, pageBytes],
        [size - pageBytes, 2 * pageBytes],
      ] as const;
      for (const [position, length] of refused) {
        const write = store.writePages(name, position, Buffer.alloc(length, 1), etag, fence);
        await expectRejection(`${length} bytes at ${position}`, write, "invalid");
      }
      expectEqual("version after refusals", (await store.properties(name))?.etag, etag);
      const largest = filledBytes(writeBytesMax, 5);
      etag = await store.writePages(name, pageBytes, largest, etag, fence);
      await store.writePages(name, size - pageBytes, filledBytes(pageBytes, 6), etag, fence);
      expectEqual("largest write", (await store.read(name, pageBytes, writeBytesMax)).bytes, largest);
      expectEqual("last page", (await store.read(name, size - pageBytes, pageBytes)).bytes, filledBytes(pageBytes, 6));
    },
  },
  {
    title: "write pages - overwrites the range and nothing else, and changes the version",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const expected = Buffer.alloc(sizeBytes);
      let etag = await store.createPages(name, sizeBytes, fence);
      const seen = new Set([etag]);
      for (const [seed, position, length] of [
        [1, 4, 3],
        [2, 5, 1],
        [3, 0, 1],
        [4, 6, 4],
        [5, 15, 1],
      ] as const) {
        const bytes = filledBytes(length * pageBytes, seed);
        etag = await store.writePages(name, position * pageBytes, bytes, etag, fence);
        bytes.copy(expected, position * pageBytes);
        seen.add(etag);
        expectEqual("version told", (await store.properties(name))?.etag, etag);
      }
      expectEqual("versions", seen.size, 6);
      expectEqual("bytes", (await store.read(name, 0, sizeBytes)).bytes, expected);
    },
  },
  {
    title: "write pages - to a blob that is missing is not found",
    async run(store, prefix) {
      const etag = await store.createPages(`${prefix}other`, sizeBytes, fence);
      const name = `${prefix}missing`;
      await expectRejection("write", store.writePages(name, 0, Buffer.alloc(pageBytes), etag, fence), "notFound");
      await expectRejection("clear", store.clearPages(name, 0, pageBytes, etag, fence), "notFound");
      await expectRejection("raise", store.raiseFence(name, etag, fence), "notFound");
      await expectRejection("read", store.read(name, 0, pageBytes), "notFound");
    },
  },
  {
    title: "clear pages - zeros the middle, the end, and all of a blob",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const expected = filledBytes(sizeBytes, 1);
      let etag = await store.createPages(name, sizeBytes, fence);
      etag = await store.writePages(name, 0, expected, etag, fence);
      for (const [from, to] of [
        [2, 5],
        [14, 16],
        [0, 16],
      ] as const) {
        const before = etag;
        etag = await store.clearPages(name, from * pageBytes, (to - from) * pageBytes, etag, fence);
        expected.fill(0, from * pageBytes, to * pageBytes);
        expectEqual("version changed", etag !== before, true);
        expectEqual(`pages ${from} to ${to}`, (await store.read(name, 0, sizeBytes)).bytes, expected);
        expectEqual("size", (await store.properties(name))?.sizeBytes, sizeBytes);
      }
      const bytes = filledBytes(pageBytes, 2);
      await store.writePages(name, sizeBytes - pageBytes, bytes, etag, fence);
      expectEqual("write after", (await store.read(name, sizeBytes - pageBytes, pageBytes)).bytes, bytes);
    },
  },
  {
    title: "clear pages - ranges that are no whole pages or beyond the end are refused",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const etag = await store.createPages(name, sizeBytes, fence);
      for (const [position, length] of [
        [1, pageBytes],
        [0, 0],
        [0, pageBytes - 1],
        [0, sizeBytes + pageBytes],
        [sizeBytes, pageBytes],
      ] as const) {
        const clear = store.clearPages(name, position, length, etag, fence);
        await expectRejection(`${length} bytes at ${position}`, clear, "invalid");
      }
    },
  },
  {
    title: "clear pages - longer than one write may be",
    async run(store, prefix) {
      const size = 3 * writeBytesMax;
      const etag = await store.createPages(`${prefix}blob`, size, fence);
      const bytes = filledBytes(2 * pageBytes, 1);
      const written = await store.writePages(`${prefix}blob`, 2 * writeBytesMax, bytes, etag, fence);
      await store.clearPages(`${prefix}blob`, pageBytes, 2 * writeBytesMax, written, fence);
      const { bytes: found } = await store.read(`${prefix}blob`, 2 * writeBytesMax, 2 * pageBytes);
      expectEqual("bytes", found, Buffer.concat([Buffer.alloc(pageBytes), bytes.subarray(pageBytes)]));
    },
  },
  {
    title: "read - any range, across written and unwritten pages, cut at the end",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const expected = Buffer.alloc(sizeBytes);
      let etag = await store.createPages(name, sizeBytes, fence);
      for (const page of [1, 3, 4]) {
        const bytes = filledBytes(pageBytes, page);
        etag = await store.writePages(name, page * pageBytes, bytes, etag, fence);
        bytes.copy(expected, page * pageBytes);
      }
      for (const [position, length] of [
        [0, 1],
        [pageBytes - 1, 2],
        [4095, 8193],
        [pageBytes * 2 - 3, 7],
        [100, 5 * pageBytes],
        [sizeBytes - 1, 1],
        [sizeBytes - 1, 2],
        [sizeBytes - pageBytes, 2 * pageBytes],
        [0, 2 * sizeBytes],
        [sizeBytes, 1],
        [sizeBytes + 1, pageBytes],
        [0, 0],
      ] as const) {
        const read = await store.read(name, position, length);
        const wanted = expected.subarray(position, position + length);
        expectEqual(`${length} bytes at ${position}`, read.bytes, wanted);
        expectEqual("version", read.etag, etag);
      }
      await expectRejection("a position below 0", store.read(name, -1, 1), "invalid");
      await expectRejection("a length below 0", store.read(name, 0, -1), "invalid");
    },
  },
  {
    title: "names - what is no name is refused",
    async run(store, prefix) {
      const long = "x".repeat(161);
      for (const name of ["", "/", "a//b", "/a", "a/", "a b", "a~b", "ä", "a/..", ".", "a./b", "a\\b", "a?b", long]) {
        await expectRejection(`name '${name}'`, store.createPages(`${prefix}x/${name}`, pageBytes, fence), "invalid");
        await expectRejection(`name '${name}'`, store.put(`${prefix}x/${name}`, Buffer.from("x"), "always"), "invalid");
      }
      const longest = `${prefix}${"Ab".repeat(80)}`;
      await store.put(longest, Buffer.from("x"), "always");
      expectEqual("longest component", (await store.list(longest, 5)).items.map(nameAndSize), [
        { name: longest, sizeBytes: 1 },
      ]);
    },
  },
];
