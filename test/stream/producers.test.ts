import test from "ava";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { readValues } from "../support/read-records.ts";
import { someRecords } from "../support/build-commit.ts";

function from(sequence: number, id = "p") {
  return { producer: { id, sequence: BigInt(sequence) } };
}

test("producer - a batch that is sent again is answered with the first one's offsets", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["other"]);
  const first = await publish(vault, "s", ["a", "b"], from(5));
  await clock.advance(1000);
  await publish(vault, "s", ["c"], from(6));
  t.deepEqual(await publish(vault, "s", ["a", "b"], from(5)), { ...first, duplicate: true });
  t.deepEqual(await readValues(open().vault, "s"), ["other", "a", "b", "c"]);
});

test("producer - the sequence is looked up before the expected offset", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"], { ...from(1), expectedOffset: 0n });
  t.like(await publish(vault, "s", ["a"], { ...from(1), expectedOffset: 0n }), { firstOffset: 0n, duplicate: true });
});

test("producer - a gap, an old sequence, and other records under a used one are refused", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"], from(1));
  await publish(vault, "s", ["b"], from(2));
  for (const [sequence, values] of [
    [4, ["x"]],
    [0, ["x"]],
    [2, ["x"]],
    [2, ["b", "b"]],
  ] as const) {
    const error = await t.throwsAsync(publish(vault, "s", values, from(sequence)));
    t.like(error, { kind: "conflict", detail: { condition: "producerSequence", found: { last_sequence: "2" } } });
  }
  await publish(vault, "s", ["c"], from(3));
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b", "c"]);
});

test("producer - a refused sequence is free for a later batch, one behind a refused one is refused", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"], from(1));
  const results = await Promise.allSettled([
    publish(vault, "s", ["x"], { ...from(2), expectedOffset: 99n }),
    publish(vault, "s", ["y"], from(3)),
    publish(vault, "s", ["b"], from(2)),
    publish(vault, "s", ["c"], from(3)),
  ]);
  t.deepEqual(
    results.map((result) => result.status),
    ["rejected", "rejected", "fulfilled", "fulfilled"],
  );
  t.deepEqual(await readValues(open().vault, "s"), ["a", "b", "c"]);
});

test("producer - what is remembered is so after opening again, with a checkpoint and without", async (t) => {
  const { open, memory } = createEngine(t);
  for (const clean of [false, true]) {
    const stream = `s-${clean}`;
    const { vault } = open();
    const first = await publish(vault, stream, ["a"], from(1));
    await publish(vault, stream, ["b"], from(2));
    if (clean) await vault.close();
    const again = open();
    t.deepEqual(await publish(again.vault, stream, ["a"], from(1)), { ...first, duplicate: true });
    t.like(await t.throwsAsync(publish(again.vault, stream, ["x"], from(4))), { kind: "conflict" });
    await publish(again.vault, stream, ["c"], from(3));
    t.deepEqual(await readValues(open().vault, stream), ["a", "b", "c"]);
    const { items } = await memory.list(`streams/${stream}/`, 100);
    t.is(
      items.some((item) => item.name.endsWith(".index")),
      clean,
    );
  }
});

test("producer - what is remembered is so through rolls, though an index is lost", async (t) => {
  const { open, memory } = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const node = open();
  const first = await publish(node.vault, "s", ["a"], from(1));
  for (let i = 0; i < 30; i++) await publish(node.vault, "s", someRecords(10, 1000, i), from(i, "q"));
  const { segmentCount } = await node.vault.getStream("s");
  t.true(segmentCount > 3);
  t.deepEqual(await publish(node.vault, "s", ["a"], from(1)), { ...first, duplicate: true });
  await node.vault.close();
  t.deepEqual(await publish(open().vault, "s", ["a"], from(1)), { ...first, duplicate: true });
  const { items } = await memory.list("streams/s/", 100);
  for (const { name } of items) if (name.endsWith(".index")) await memory.remove(name);
  const last = open();
  t.deepEqual(await publish(last.vault, "s", ["a"], from(1)), { ...first, duplicate: true });
  t.like(await publish(last.vault, "s", someRecords(10, 1000, 29), from(29, "q")), { duplicate: true });
});

test("producer - at the edge of the window it is remembered, behind it it may begin anywhere", async (t) => {
  const { open, clock } = createEngine(t, { defaults: { producerWindowMs: 1000 } });
  for (const reopened of [false, true]) {
    const stream = `s-${reopened}`;
    let { vault } = open();
    const first = await publish(vault, stream, ["a"], from(7));
    await clock.advance(1000);
    if (reopened) ({ vault } = open());
    t.deepEqual(await publish(vault, stream, ["a"], from(7)), { ...first, duplicate: true });
    t.like(await t.throwsAsync(publish(vault, stream, ["x"], from(3))), { kind: "conflict" });
    await clock.advance(1);
    if (reopened) ({ vault } = open());
    t.like(await publish(vault, stream, ["b"], from(3)), { firstOffset: 1n, duplicate: false });
    t.like(await publish(vault, stream, ["b"], from(3)), { firstOffset: 1n, duplicate: true });
    t.like(await publish(open().vault, stream, ["b"], from(3)), { firstOffset: 1n, duplicate: true });
  }
});

test("producer - so many requests are remembered of each, and so many producers", async (t) => {
  const { open } = createEngine(t, { settings: { producersMax: 3, producerRequestsMax: 4 } });
  for (const reopened of [false, true]) {
    const stream = `s-${reopened}`;
    let { vault } = open();
    for (let i = 1; i <= 6; i++) await publish(vault, stream, [`${i}`], from(i));
    if (reopened) ({ vault } = open());
    t.like(await publish(vault, stream, ["3"], from(3)), { firstOffset: 2n, duplicate: true });
    t.like(await t.throwsAsync(publish(vault, stream, ["2"], from(2))), { kind: "conflict" });
    for (const id of ["q", "r", "s"]) await publish(vault, stream, [id], from(1, id));
    if (reopened) ({ vault } = open());
    t.like(await publish(vault, stream, ["new"], from(99)), { duplicate: false });
    t.like(await publish(vault, stream, ["r"], from(1, "r")), { duplicate: true });
  }
});

test("producer - many at once, each in its order", async (t) => {
  const { open } = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { vault } = open();
  const publishes: Promise<unknown>[] = [];
  for (let sequence = 0; sequence < 20; sequence++) {
    for (const id of ["a", "b", "c"]) {
      const send = () => publish(vault, "s", [`${id}${sequence}`], from(sequence, id));
      publishes.push(send(), send());
    }
  }
  await Promise.all(publishes);
  const values = await readValues(open().vault, "s");
  t.is(values.length, 60);
  for (const id of ["a", "b", "c"]) {
    t.deepEqual(
      values.filter((value) => value.startsWith(id)),
      Array.from({ length: 20 }, (_, i) => `${id}${i}`),
    );
  }
});
