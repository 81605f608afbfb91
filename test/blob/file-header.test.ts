import test from "ava";
import { decodeHeaderPage, encodeHeaderPage, encodeSlot, headerBytes, slotBytes } from "../../src/blob/file-header.ts";

const first = { generation: 1, sizeBytes: 8192, sequenceNumber: 3, metadata: {} };
const second = { generation: 2, sizeBytes: 8192, sequenceNumber: 4, metadata: { epoch: "4", note: "x".repeat(700) } };

test("file header - golden bytes", (t) => {
  const page = encodeHeaderPage(first);
  t.is(page.length, headerBytes);
  t.is(page.subarray(0, 8).toString(), "mvpages\n");
  const json = '{"sizeBytes":8192,"sequenceNumber":3,"metadata":{}}';
  const slot = page.subarray(slotBytes);
  t.is(slot.toString("hex", 0, 28), "6d7670616765730a010000009b7439a4010000000000000033000000");
  t.is(slot.subarray(28, 28 + json.length).toString(), json);
});

test("file header - the newer slot counts, and the older one where the newer is torn at any sector", (t) => {
  const page = encodeHeaderPage(first);
  t.deepEqual(decodeHeaderPage(page), first);
  const { position, bytes } = encodeSlot(second);
  const updated = Buffer.from(page);
  bytes.copy(updated, position);
  t.deepEqual(decodeHeaderPage(updated), second);
  // The JSON reaches into the second sector: with only one of the two written the slot must not count.
  for (const torn of [0, 512]) {
    const half = Buffer.from(page);
    bytes.copy(half, position + torn, torn, torn + 512);
    t.deepEqual(decodeHeaderPage(half), first);
  }
});

test("file header - a flipped bit anywhere in the only valid slot is noticed", (t) => {
  const page = encodeHeaderPage(first);
  const end = slotBytes + 28 + JSON.stringify({ sizeBytes: 8192, sequenceNumber: 3, metadata: {} }).length;
  for (let at = slotBytes; at < end; at += 1) {
    const flipped = Buffer.from(page);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    t.is(decodeHeaderPage(flipped), "damaged", `byte ${at}`);
  }
});

test("file header - other files have none", (t) => {
  for (const bytes of [Buffer.alloc(0), Buffer.from("{}"), Buffer.alloc(4096), Buffer.alloc(100, "mvpages")]) {
    t.is(decodeHeaderPage(bytes), undefined);
  }
});
