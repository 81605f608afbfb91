import test from "ava";
import { createEngine } from "../support/create-engine.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { follow, readValues } from "../support/read-records.ts";
import {
  chooseFaults,
  createHeldCall,
  endFaults,
  loseAnswer,
  loseRequest,
  succeed,
  throttle,
} from "../support/storage-faults.ts";
import { someRecords } from "../support/build-commit.ts";

const small = { defaults: { segmentBytes: 64 * 1024 } };

test("delete - nothing is left, and a stream made anew is another incarnation that begins at 0", async (t) => {
  const { open, memory } = createEngine(t, small);
  const { vault } = open();
  const first = await publish(vault, "s", someRecords(100, 3000));
  await publish(vault, "s", someRecords(20, 3000), { producer: { id: "p", sequence: 9n } });
  await vault.deleteStream("s", first.incarnation);
  t.deepEqual((await memory.list("", 100)).items, []);
  t.like(await t.throwsAsync(vault.getStream("s")), { kind: "notFound" });
  t.like(await t.throwsAsync(vault.deleteStream("s", undefined)), { kind: "notFound" });
  const second = await publish(vault, "s", ["new"], { producer: { id: "p", sequence: 1n } });
  t.like(second, { firstOffset: 0n, duplicate: false });
  t.not(second.incarnation, first.incarnation);
  t.deepEqual(await readValues(open().vault, "s"), ["new"]);
});

test("delete - a stream that another has deleted is made anew where it is still open", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  const old = await publish(vault, "s", ["a"]);
  await open().vault.deleteStream("s", undefined);
  const made = await vault.createStream("s", {});
  t.like(made, { firstOffset: 0n, nextOffset: 0n });
  t.not(made.incarnation, old.incarnation);
  t.like(await publish(vault, "s", ["b"]), { incarnation: made.incarnation });
});

test("delete - with another incarnation's id nothing happens", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  t.like(await t.throwsAsync(vault.deleteStream("s", "0".repeat(32))), { kind: "conflict" });
  t.deepEqual(await readValues(vault, "s"), ["a"]);
});

test("delete - requests that made the stream and are carried out once more do not bring it back", async (t) => {
  const { open, faulty } = createEngine(t);
  const { vault } = open();
  const repeats: (() => Promise<unknown>)[] = [];
  for (const call of ["put", "createPages"] as const) {
    faulty.set(call, (forward) => {
      repeats.push(forward);
      return forward();
    });
  }
  await publish(vault, "s", ["a"]);
  for (const call of ["put", "createPages"] as const) faulty.set(call, undefined);
  await vault.deleteStream("s", undefined);
  for (const repeat of repeats) await repeat().catch(() => undefined);
  t.true(repeats.length >= 3);
  for (const { vault: other } of [open(), open({ standby: true })]) {
    t.like(await t.throwsAsync(other.getStream("s")), { kind: "notFound" });
  }
  t.like(await publish(open().vault, "s", ["b"]), { firstOffset: 0n });
  t.deepEqual(await readValues(open().vault, "s"), ["b"]);
});

test("delete - a stream that others deleted is not begun anew by who had it open", async (t) => {
  const { open, faulty, memory } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const created = faulty.calls.get("createPages");
  for (const { name } of (await memory.list("", 10)).items) await memory.remove(name);
  // What was sent to the segment had an unknown outcome.
  t.like(await t.throwsAsync(publish(vault, "s", ["b"])), { kind: "indeterminate" });
  t.is(faulty.calls.get("createPages"), created);
  t.like(await publish(vault, "s", ["c"]), { firstOffset: 0n });
});

test("delete - a first segment that came too late to be removed is no stream", async (t) => {
  const { open, faulty, memory } = createEngine(t);
  const { vault } = open();
  faulty.set("createPages", async (forward) => {
    await memory.remove("streams/s/stream.json");
    return forward();
  });
  faulty.set("remove", throttle);
  t.like(await t.throwsAsync(publish(vault, "s", ["a"])), { kind: "notFound" });
});

test("delete - subscriptions end with not found, publishes before it are answered", async (t) => {
  const { open } = createEngine(t);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const reader = follow(vault, "s");
  await reader.next();
  const ended = t.throwsAsync(async () => {
    for (;;) await reader.next();
  });
  const publishing = Array.from({ length: 10 }, (_, i) => publish(vault, "s", [`${i}`]));
  await Promise.resolve();
  await Promise.resolve();
  const deleting = vault.deleteStream("s", undefined);
  const results = await Promise.allSettled(publishing);
  await deleting;
  t.true(results.every((result) => result.status === "fulfilled"));
  t.like(await ended, { kind: "notFound" });
});

test("delete - while others publish, each publish is stored in one incarnation or not at all", async (t) => {
  const { open } = createEngine(t, small);
  const { vault } = open();
  const stored = new Map<string, string[]>();
  const publishing = Array.from({ length: 8 }, async (_, i) => {
    for (let round = 0; round < 15; round++) {
      const value = `${i}-${round}`;
      try {
        const { incarnation } = await publish(vault, "s", [value]);
        stored.set(incarnation, [...(stored.get(incarnation) ?? []), value]);
      } catch (error) {
        t.like(error, { kind: "notFound" });
      }
    }
  });
  const deleting = (async () => {
    for (let round = 0; round < 5; round++) {
      for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => void setImmediate(resolve));
      await vault.deleteStream("s", undefined).catch((error: unknown) => t.like(error, { kind: "notFound" }));
    }
  })();
  await Promise.all([...publishing, deleting]);
  await publish(vault, "s", ["end"]);
  const { incarnation } = await vault.getStream("s");
  const values = await readValues(open().vault, "s");
  t.deepEqual(values.toSorted(), [...(stored.get(incarnation) ?? []), "end"].toSorted());
});

test("delete - wherever it is cut short, whoever looks next finishes it", async (t) => {
  let failed = true;
  for (let at = 0; failed; at++) {
    for (const last of [loseRequest, loseAnswer]) {
      const { open, faulty, memory, clock } = createEngine(t, small);
      const node = open({ settings: { settleMs: 100 } });
      for (let i = 0; i < 4; i++) await publish(node.vault, "s", someRecords(10, 3000, i * 10));
      let made = 0;
      chooseFaults(faulty, (number) => {
        made = number + 1;
        return number < at ? succeed : number === at ? last : loseRequest;
      });
      let answered = true;
      await drive(clock, node.vault.deleteStream("s", undefined)).catch(() => {
        answered = false;
      });
      endFaults(faulty);
      node.leadership.depose();
      // Where the delete makes fewer calls nothing failed: that was the last round.
      failed = made > at;
      t.true(failed || answered);
      t.true(made > 5 || failed);
      const next = open({ store: memory });
      const found = await readValues(next.vault, "s").then(
        (values) => values.length,
        (error: unknown) => {
          t.like(error, { kind: "notFound" });
          return 0;
        },
      );
      t.true(found === 40 ? !answered : found === 0, `call ${at}: ${found} records`);
      if (found > 0) await next.vault.deleteStream("s", undefined);
      t.like(await publish(next.vault, "s", ["new"]), { firstOffset: 0n });
      t.deepEqual(await readValues(next.vault, "s"), ["new"]);
    }
  }
});

test("delete - one whose answer was lost does not leave a stream that can be written to", async (t) => {
  const { open, faulty, memory, clock } = createEngine(t);
  const { vault } = open();
  const { incarnation } = await publish(vault, "s", ["a"]);
  chooseFaults(faulty, (_, call) => (call === "writePages" ? loseAnswer : succeed));
  await drive(clock, vault.deleteStream("s", undefined)).catch(() => undefined);
  endFaults(faulty);
  const again = await publish(vault, "s", ["new"]);
  t.not(again.incarnation, incarnation);
  t.deepEqual(await readValues(open().vault, "s"), ["new"]);
  t.is((await memory.list(`streams/s/${incarnation}/`, 10)).items.length, 0);
});

test("delete - an index that is written meanwhile does not stay behind", async (t) => {
  const { open, faulty, memory, clock } = createEngine(t, small);
  const { vault } = open();
  await publish(vault, "s", ["a"]);
  const held = createHeldCall();
  faulty.set("put", (forward, args) => (String(args[0]).endsWith(".index") ? held.fault(forward, args) : forward()));
  for (let i = 0; i < 4; i++) await publish(vault, "s", someRecords(10, 3000, i * 10));
  t.true(held.waiting);
  const deleting = vault.deleteStream("s", undefined);
  await clock.settle();
  held.release();
  await deleting;
  await clock.settle();
  t.deepEqual((await memory.list("streams/", 10)).items, []);
});
