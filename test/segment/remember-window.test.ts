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
