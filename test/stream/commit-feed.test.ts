import test from "ava";
import type { StreamEnd } from "../../src/stream/stream-end.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";

function end(stream: string, nextOffset: bigint, rest: Partial<StreamEnd> = {}): Partial<StreamEnd> {
  return { stream, nextOffset, startOffset: 0n, deleted: false, ...rest };
}

test("commit feed - a follower hears of commits, trims, rolls, settings and deletions", async (t) => {
  const { open, clock } = createEngine(t, { defaults: { segmentBytes: 64 * 1024 } });
  const { vault } = open();
  await publish(vault, "s", ["before"]);
  const abort = new AbortController();
  const heard: StreamEnd[] = [];
  const following = (async () => {
    for await (const ends of vault.feed.follow(abort.signal)) heard.push(...ends);
  })();
  await clock.settle();
  t.deepEqual(heard, [], "what was there before is not told");
  const { incarnation, timestamp } = await publish(vault, "s", ["a", "b"]);
  await clock.settle();
  const { segments } = await vault.readAccess("s", 0n, 0n);
  const { endPosition: position } = segments[0]!;
  t.deepEqual(heard.splice(0), [
    { ...end("s", 3n), incarnation, timestamp, segmentFirstOffset: 0n, position } as StreamEnd,
  ]);
  await vault.trimStream("s", { offset: 2n });
  await clock.settle();
  t.like(heard.splice(0).at(-1), end("s", 3n, { startOffset: 2n }));
  await vault.updateStream("s", { retentionBytes: 100 });
  await clock.settle();
  t.is(heard.splice(0).length, 1);
  for (let i = 0; i < 12; i++) await publish(vault, "s", ["x".repeat(8000)]);
  await clock.settle();
  const last = heard.splice(0).at(-1)!;
  t.is(last.nextOffset, 15n);
  t.true(last.segmentFirstOffset > 0n && last.position > 0);
  await vault.createStream("other", {});
  await clock.settle();
  t.like(heard.splice(0).at(-1), end("other", 0n, { timestamp: undefined }));
  await vault.deleteStream("s", undefined);
  await clock.settle();
  t.like(heard.splice(0).at(-1), end("s", 15n, { startOffset: 2n, deleted: true }));
  abort.abort();
  await following;
});

test("commit feed - who is slow gets the newest end of each stream only", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault } = open();
  const abort = new AbortController();
  const ends = vault.feed.follow(abort.signal)[Symbol.asyncIterator]();
  const first = ends.next();
  await publish(vault, "a", ["1"]);
  t.like((await first).value, [{ stream: "a" }]);
  for (let i = 0; i < 50; i++) {
    await publish(vault, "a", ["x"]);
    await publish(vault, "b", ["x", "y"]);
  }
  const { value } = await ends.next();
  t.deepEqual(
    (value as StreamEnd[]).map(({ stream, nextOffset }) => [stream, nextOffset]),
    [
      ["a", 51n],
      ["b", 100n],
    ],
  );
  const waiting = ends.next();
  abort.abort();
  t.true((await waiting).done);
  t.is(clock.timers, 0);
});

test("commit feed - a leader that is abandoned tells nothing more", async (t) => {
  const { open, clock } = createEngine(t);
  const { vault, leadership } = open();
  await publish(vault, "s", ["a"]);
  const abort = new AbortController();
  const heard: StreamEnd[] = [];
  const following = (async () => {
    for await (const ends of vault.feed.follow(abort.signal)) heard.push(...ends);
  })();
  await clock.settle();
  leadership.depose();
  vault.abandon();
  await clock.settle();
  t.deepEqual(heard, []);
  abort.abort();
  await following;
});
