import test from "ava";
import { createPacer, noPace } from "../../src/blob/pacer.ts";
import type { Pacer } from "../../src/blob/pacer.ts";
import { createClock } from "../support/create-clock.ts";
import type { ManualClock } from "../support/create-clock.ts";

const MiB = 1024 * 1024;

/** Admits `count` requests that all come now; resolves to when each was sent, in milliseconds from now. */
async function sendTimes(clock: ManualClock, count: number, admit: (index: number) => Promise<void>) {
  const from = clock.monotonic();
  const times: number[] = [];
  const sent = Array.from({ length: count }, (_, index) =>
    admit(index).then(() => times.push(clock.monotonic() - from)),
  );
  await clock.advanceUntil(() => times.length === count, 3_600_000);
  await Promise.all(sent);
  return times;
}

/** The most that lies in any span of `spanMs`. */
function mostWithin(times: readonly number[], spanMs: number): number {
  return Math.max(...times.map((from) => times.filter((time) => time >= from && time < from + spanMs).length));
}

test("pacer - bytes of a blob leave at its rate, but for a quarter of a second's worth at once", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, { ...noPace, blobBytesPerSecondMax: 60 * MiB });
  const times = await sendTimes(clock, 150, () => pacer.admit("a", 4 * MiB));
  // 15 a second, and 4 at once.
  t.true(mostWithin(times, 1000) <= 15 + 4 + 1, `${mostWithin(times, 1000)}`);
  t.true(Math.abs(times.at(-1)! - (150 - 4) * (1000 / 15)) < 100, `${times.at(-1)}`);
});

test("pacer - requests of a blob, and of all blobs together, leave at their rates", async (t) => {
  const clock = createClock();
  const one = createPacer(clock, { ...noPace, blobRequestsPerSecondMax: 500 });
  const times = await sendTimes(clock, 1125, () => one.admit("a", 100));
  t.true(Math.abs(times.at(-1)! - 2000) < 5, `${times.at(-1)}`);
  t.true(mostWithin(times, 100) <= 125 + 51);
  const many = createPacer(clock, { ...noPace, accountRequestsPerSecondMax: 1000 });
  const spread = await sendTimes(clock, 1250, (index) =>
    index % 2 === 0 ? many.admit(`${index}`, 1) : many.admitOther(),
  );
  t.true(Math.abs(spread.at(-1)! - 1000) < 5, `${spread.at(-1)}`);
});

test("pacer - blobs do not wait for each other, and what was not used is not saved up", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, { ...noPace, blobBytesPerSecondMax: MiB });
  const first = sendTimes(clock, 10, () => pacer.admit("a", MiB));
  await pacer.admit("b", MiB);
  t.is(clock.monotonic(), 0);
  await first;
  await clock.advance(3_600_000);
  const later = await sendTimes(clock, 10, () => pacer.admit("a", MiB));
  t.is(mostWithin(later, 1000), 2);
});

async function exhaust(clock: ManualClock, pacer: Pacer, retryAfterMs: number): Promise<number> {
  pacer.throttled("a", retryAfterMs);
  const [time] = await sendTimes(clock, 1, () => pacer.admit("a", 1));
  return time!;
}

test("pacer - a refusal keeps everything from the blob for as long as storage asks, and at most half as long again", async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const clock = createClock({ seed });
    const pacer = createPacer(clock, noPace);
    await pacer.admit("a", 1);
    const time = await exhaust(clock, pacer, 7000);
    t.true(time >= 7000 && time <= 10_500, `${time}`);
  }
});

test("pacer - refusals in a row pause for longer, up to a limit; a success ends the row", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, noPace);
  const bounds = [1, 2, 4, 8, 10, 10];
  for (const seconds of bounds) {
    const time = await exhaust(clock, pacer, 1000);
    t.true(time >= seconds * 1000 && time <= seconds * 1500, `${time} for ${seconds} s`);
  }
  const asked = await exhaust(clock, pacer, 60_000);
  t.true(asked >= 60_000 && asked <= 90_000, "storage knows best");
  pacer.served("a");
  const time = await exhaust(clock, pacer, 1000);
  t.true(time >= 1000 && time <= 1500);
});

test("pacer - no storm: those who wait for the end of a pause come one by one, those who came before it too", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, { ...noPace, blobRequestsPerSecondMax: 100 });
  const times: number[] = [];
  const come = () => pacer.admit("a", 1).then(() => times.push(clock.monotonic()));
  for (let i = 0; i < 100; i++) void come();
  await clock.settle();
  // 26 have left; the others wait for their turn when those are refused.
  t.is(times.splice(0).length, 26);
  for (let i = 0; i < 26; i++) pacer.throttled("a", 1000);
  for (let i = 0; i < 100; i++) void come();
  await clock.advance(60_000);
  t.is(times.length, 174);
  t.true(Math.min(...times) >= 1000);
  t.true(Math.max(...times) < 6000, `${Math.max(...times)}: that many were refused together counts once`);
  t.true(mostWithin(times, 100) <= 11, `${mostWithin(times, 100)} within 100 ms of a pause for 100 a second`);
});

test("pacer - blobs that were refused together do not come back together", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, noPace);
  const names = Array.from({ length: 100 }, (_, index) => `${index}`);
  for (const name of names) pacer.throttled(name, 1000);
  const times = await sendTimes(clock, names.length, (index) => pacer.admit(names[index]!, 1));
  t.true(mostWithin(times, 50) <= 25, `${mostWithin(times, 50)} of 100 within 50 ms`);
  t.true(Math.min(...times) >= 1000);
});

test("pacer - after a refusal a blob's rates are lower, and grow back slowly", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, { ...noPace, blobRequestsPerSecondMax: 100 });
  pacer.throttled("a", 1000);
  await sendTimes(clock, 1, () => pacer.admit("a", 1));
  const lower = await sendTimes(clock, 76, () => pacer.admit("a", 1));
  t.true(Math.abs(lower.at(-1)! - 1000) < 50, `${lower.at(-1)}: three quarters of 100 a second`);
  await clock.advance(60_000);
  const full = await sendTimes(clock, 125, () => pacer.admit("a", 1));
  t.true(Math.abs(full.at(-1)! - 1000) < 50, `${full.at(-1)}`);
});

test("pacer - who took a turn is not held back, and pays for its request once", async (t) => {
  const clock = createClock();
  const pacer = createPacer(clock, { ...noPace, blobBytesPerSecondMax: 10 * MiB, blobRequestsPerSecondMax: 1 });
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const [turn] = await sendTimes(clock, 1, () => pacer.turn("a"));
    const [sent] = await sendTimes(clock, 1, () => pacer.admit("a", MiB));
    times.push(turn!);
    t.is(sent, 0);
  }
  t.true(times.reduce((sum, time) => sum + time, 0) <= 9000);
  t.true(
    times.slice(2).every((time) => time > 990 && time < 1010),
    times.join(" "),
  );
});
