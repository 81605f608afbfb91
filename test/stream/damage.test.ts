import test from "ava";
import type { TestEngine } from "../support/create-engine.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { follow, readRecords } from "../support/read-records.ts";
import { findingsOf } from "../support/run-workload.ts";
import { someRecords } from "../support/build-commit.ts";
import type { Frame } from "../../src/segment/format.ts";
import { incarnationSeed } from "../../src/segment/format.ts";
import { scanFrames, scanStart } from "../../src/segment/scan.ts";
import type { Vault } from "../../src/stream/vault.ts";

const options = {
  defaults: { segmentBytes: 64 * 1024 },
  settings: { frameBytes: 4096, responseBytes: 8192 },
  tailBytes: 1,
  blockBytes: 16 * 1024,
};
const total = 150n;

async function fill(vault: Vault): Promise<void> {
  for (let i = 0; i < 30; i++) await publish(vault, "s", someRecords(5, 2000, i * 5));
}

interface Place extends Pick<Frame, "position" | "endPosition" | "firstOffset" | "nextOffset"> {
  readonly blob: string;
}

/** Where the frame with `offset` is stored. */
async function placeOf({ memory }: TestEngine, vault: Vault, offset: bigint): Promise<Place> {
  const { incarnation, segments } = await vault.readAccess("s", offset, offset + 1n);
  const { blob, firstOffset } = segments[0]!;
  const source = { store: memory, blob, seed: incarnationSeed(incarnation) };
  for await (const frame of scanFrames(source, scanStart(firstOffset, 0))) {
    if (frame.nextOffset > offset) return { ...frame, blob };
  }
  throw new Error(`there is no offset ${offset}`);
}

async function flip({ memory }: TestEngine, blob: string, position: number): Promise<void> {
  const { bytes } = await memory.read(blob, position, 1);
  memory.damage(blob, position, Buffer.from([bytes[0]! ^ 0x10]));
}

for (const offset of [0n, 3n, 52n, 77n, 130n, 146n]) {
  test(`damage at offset ${offset} - what is before is read, then it is named, and what is behind is read`, async (t) => {
    const engine = createEngine(t, options);
    const first = engine.open();
    await fill(first.vault);
    const place = await placeOf(engine, first.vault, offset);
    await flip(engine, place.blob, place.position + 100);
    for (const { vault } of [first, engine.open()]) {
      const seen: bigint[] = [];
      const error = await t.throwsAsync(async () => {
        for await (const response of follow(vault, "s")) seen.push(...response.records.map((record) => record.offset));
      });
      t.like(error, {
        kind: "corrupt",
        detail: { found: { segment: place.blob, position: `${place.position}`, offset: `${place.firstOffset}` } },
      });
      t.deepEqual(seen, range(0n, place.firstOffset));
      for (const hit of [place.firstOffset, place.nextOffset - 1n]) {
        const reading = readRecords(vault, "s", { start: { at: "offset", offset: hit } });
        t.like(await t.throwsAsync(reading), { kind: "corrupt" });
      }
      const behind = await readRecords(vault, "s", { start: { at: "offset", offset: place.nextOffset } });
      t.deepEqual(
        behind.map((record) => record.offset),
        range(place.nextOffset, total),
      );
      t.is((await vault.getStream("s")).nextOffset, total);
    }
    const findings = await findingsOf(engine, "s");
    t.true(findings.some((finding) => finding.blob === place.blob && finding.position === place.position));
  });
}

test("damage at the end - publishing goes on behind it, and no offset is given twice", async (t) => {
  for (const close of [false, true]) {
    const engine = createEngine(t, options);
    const first = engine.open();
    await fill(first.vault);
    const place = await placeOf(engine, first.vault, total - 1n);
    if (close) await first.vault.close();
    await flip(engine, place.blob, place.position + 100);
    const next = engine.open();
    t.like(await publish(next.vault, "s", ["next"]), { firstOffset: total });
    const last = engine.open();
    t.like(await publish(last.vault, "s", ["last"]), { firstOffset: total + 1n });
    const behind = await readRecords(last.vault, "s", { start: { at: "offset", offset: total } });
    t.deepEqual(
      behind.map((record) => Buffer.from(record.value).toString()),
      ["next", "last"],
    );
    const lost = readRecords(last.vault, "s", { start: { at: "offset", offset: total - 1n } });
    t.like(await t.throwsAsync(lost), { kind: "corrupt" });
    t.is((await findingsOf(engine, "s")).length > 0, true);
  }
});

test("damage - a seal that is damaged costs nothing but a finding", async (t) => {
  const engine = createEngine(t, options);
  const { vault } = engine.open();
  await fill(vault);
  const { segments } = await vault.readAccess("s", 0n, 0n);
  const sealed = segments[0]!;
  await flip(engine, sealed.blob, sealed.endPosition - 10);
  for (const node of [vault, engine.open().vault]) t.is((await readRecords(node, "s")).length, Number(total));
  const findings = await findingsOf(engine, "s");
  t.true(findings.some((finding) => finding.blob === sealed.blob));
});

test("damage - an index that is damaged, of another segment or lost costs time, not records", async (t) => {
  for (const harm of ["damaged", "foreign", "lost"] as const) {
    const engine = createEngine(t, options);
    const { memory } = engine;
    const { vault } = engine.open();
    await fill(vault);
    await vault.close();
    const names = (await memory.list("streams/s/", 100)).items.map((item) => item.name);
    const indexes = names.filter((name) => name.endsWith(".index"));
    const foreign = (await memory.get(indexes[1]!))!.bytes;
    for (const name of indexes) {
      if (harm === "lost") await memory.remove(name);
      else if (harm === "foreign" && name !== indexes[1]) await memory.put(name, foreign, "always");
      else if (harm === "damaged") await flip(engine, name, 80);
    }
    const next = engine.open();
    t.is((await readRecords(next.vault, "s")).length, Number(total));
    t.is(await next.vault.trimStream("s", { offset: 140n }), 140n);
    t.like(await publish(next.vault, "s", ["next"]), { firstOffset: total });
    t.is((await readRecords(engine.open().vault, "s")).length, 11);
  }
});

test("damage - a stream.json that cannot be understood is said to be so", async (t) => {
  const engine = createEngine(t, options);
  const { vault } = engine.open();
  await fill(vault);
  await vault.close();
  await engine.memory.put("streams/s/stream.json", Buffer.from('{"version":1}'), "always");
  const next = engine.open();
  for (const use of [() => publish(next.vault, "s", ["x"]), () => next.vault.getStream("s")]) {
    t.like(await t.throwsAsync(use()), { kind: "corrupt", detail: { resource: "streams/s/stream.json" } });
  }
  t.is((await findingsOf(engine, "s")).length > 0, true);
});

test("verify - a healthy stream has no findings, while it is written to either", async (t) => {
  const engine = createEngine(t, options);
  const { vault } = engine.open();
  const state = { done: false };
  const publishing = (async () => {
    for (let i = 0; i < 60; i++) {
      const producer = { id: `p${i % 3}`, sequence: BigInt(Math.floor(i / 3)) };
      await publish(vault, "s", someRecords(5, 2000, i * 5), { producer });
      if (i === 40) await vault.trimStream("s", { offset: 120n });
      await new Promise((resolve) => void setImmediate(resolve));
    }
    state.done = true;
  })();
  let checks = 0;
  await new Promise((resolve) => void setImmediate(resolve));
  while (!state.done) {
    t.deepEqual(await findingsOf(engine, "s"), []);
    checks++;
  }
  await publishing;
  t.true(checks > 1);
  t.deepEqual(await findingsOf(engine, "s"), []);
});

function range(from: bigint, to: bigint): bigint[] {
  return Array.from({ length: Number(to - from) }, (_, i) => from + BigInt(i));
}
