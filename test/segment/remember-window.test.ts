import test from "ava";
import { systemClock } from "../../src/clock.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { rememberWindow } from "../../src/segment/remember-window.ts";

const bytes = Buffer.from(Array.from({ length: 100 }, (_, i) => i));

async function createSource() {
  const store = createMemoryStore(systemClock);
  await store.put("blob", bytes, "always");
  const reads: string[] = [];
  const counted: typeof store = {
    ...store,
    read(name, position, lengthBytes) {
      reads.push(`${position}+${lengthBytes}`);
      return store.read(name, position, lengthBytes);
    },
  };
  const remembered = rememberWindow({ store: counted, blob: "blob", seed: 0 });
  const read = async (position: number, length: number) =>
    (await remembered.store.read("blob", position, length)).bytes;
  return { read, reads };
}

test("remembered window - what stands in the last read is not read again", async (t) => {
  const { read, reads } = await createSource();
  t.deepEqual(await read(10, 50), bytes.subarray(10, 60));
  t.deepEqual(await read(20, 40), bytes.subarray(20, 60));
  t.deepEqual(await read(10, 0), bytes.subarray(10, 10));
  t.deepEqual(reads, ["10+50"]);
});

test("remembered window - what goes beyond the last read, or before it, is read", async (t) => {
  const { read, reads } = await createSource();
  await read(10, 50);
  t.deepEqual(await read(20, 41), bytes.subarray(20, 61));
  t.deepEqual(await read(19, 10), bytes.subarray(19, 29));
  t.deepEqual(reads, ["10+50", "20+41", "19+10"]);
});

test("remembered window - behind a read that reached the blob's end there is nothing", async (t) => {
  const { read, reads } = await createSource();
  t.deepEqual(await read(60, 200), bytes.subarray(60));
  t.deepEqual(await read(90, 4000), bytes.subarray(90));
  t.deepEqual(await read(100, 10), Buffer.alloc(0));
  t.deepEqual(await read(300, 10), Buffer.alloc(0));
  t.deepEqual(reads, ["60+200"]);
});

const sizeBytes = 1024 * 1024;

/** A blob with 5,000 bytes at its start, and `more` bytes at 600,000; a store that tells what was written. */
async function createSparseSource(more: number) {
  const store = createMemoryStore(systemClock);
  const content = Buffer.alloc(sizeBytes);
  content.fill(1, 0, 5000);
  content.fill(2, 600_000, 600_000 + more);
  await store.put("blob", content, "always");
  const reads: string[] = [];
  const sparse: typeof store = {
    ...store,
    read(name, position, lengthBytes) {
      reads.push(`${position}+${lengthBytes}`);
      return store.read(name, position, lengthBytes);
    },
    async writtenEnd(_name, position, lengthBytes) {
      const found = content.subarray(0, position + lengthBytes).findLastIndex((byte) => byte !== 0);
      return Math.max(position, Math.ceil((found + 1) / 4096) * 4096);
    },
  };
  const remembered = rememberWindow({ store: sparse, blob: "blob", seed: 0 }, sizeBytes);
  const read = async (position: number, length: number) => {
    const { bytes } = await remembered.store.read("blob", position, length);
    return { same: bytes.equals(content.subarray(position, position + length)), length: bytes.length };
  };
  return { read, reads };
}

test("remembered window - a hole is not read, and is all zeros", async (t) => {
  const { read, reads } = await createSparseSource(0);
  t.deepEqual(await read(0, 500_000), { same: true, length: 500_000 });
  t.deepEqual(await read(4900, 4_000_000), { same: true, length: sizeBytes - 4900 });
  t.deepEqual(await read(700_000, 10), { same: true, length: 10 });
  t.deepEqual(await read(sizeBytes, 400_000), { same: true, length: 0 });
  t.deepEqual(reads, ["0+8192"]);
});

test("remembered window - what stands behind a hole is found", async (t) => {
  const { read, reads } = await createSparseSource(9000);
  t.deepEqual(await read(0, 500_000), { same: true, length: 500_000 });
  t.deepEqual(await read(5000, 600_000), { same: true, length: 600_000 });
  t.deepEqual(await read(5000, 4_000_000), { same: true, length: sizeBytes - 5000 });
  t.deepEqual(reads.slice(0, 2), ["0+500000", "5000+600000"]);
});
