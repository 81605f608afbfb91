/**
 * Many failovers in a row, and all kinds of them at random. How long publishes wait is told, not judged, as other tests
 * run beside these: docs/failover.md has what was measured on a machine that did nothing else, and how.
 */
import test from "ava";
import { systemClock } from "../../src/clock.ts";
import { cutLeaderFromStandbys } from "../support/disturb-cluster.ts";
import { longestGap } from "../support/failover-history.ts";
import { finishWell } from "../support/finish-well.ts";
import { runChaos } from "../support/run-chaos.ts";
import type { ChaosSummary } from "../support/run-chaos.ts";
import { pacedStream, startFailoverRun } from "../support/run-failover.ts";

const nothing = { minutes: 0, kills: 0, freezes: 0, transfers: 0, streams: 0 };
const good = { lost: 0, duplicated: 0, vanished: 0, stale_writes: 0, publish_failures: 0, faults: [] };

function badOf({ lost, duplicated, vanished, stale_writes, publish_failures, faults }: ChaosSummary) {
  return { lost, duplicated, vanished, stale_writes, publish_failures, faults };
}

test.serial("failover - ten kills of the leader", async (t) => {
  t.timeout(1_500_000);
  const summary = await runChaos(t, { ...nothing, seed: 31, kills: 10 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
});

test.serial("failover - ten transfers and SIGTERMs: no publish fails", async (t) => {
  t.timeout(600_000);
  const summary = await runChaos(t, { ...nothing, seed: 32, transfers: 10 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
});

test.serial("failover - two kills of the leader of 200 streams: each goes on", async (t) => {
  t.timeout(600_000);
  const summary = await runChaos(t, { ...nothing, seed: 33, kills: 2, streams: 200 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
});

test.serial("failover - five freezes: no stale write is accepted, and nothing acknowledged is lost", async (t) => {
  t.timeout(1_500_000);
  const summary = await runChaos(t, { ...nothing, seed: 34, freezes: 5 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
  t.true(summary.stale_writes_refused > 0);
});

test.serial("failover - everything that can happen, for two minutes", async (t) => {
  t.timeout(1_500_000);
  const atRandom = { kills: undefined, freezes: undefined, transfers: undefined };
  const summary = await runChaos(t, { ...atRandom, minutes: 2, streams: 0, seed: 35 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
});

test.serial(
  "failover - a leader cut from the standbys for two minutes: four changes at most, publishes go on",
  async (t) => {
    t.timeout(900_000);
    const run = await startFailoverRun(t, { seed: 36 });
    const before = await run.cluster.waitForLeader();
    const { startedAt } = await cutLeaderFromStandbys(120_000)(run);
    const after = await run.cluster.waitForLeader();
    const gapMs = longestGap(run.history.acknowledgedAt(pacedStream), startedAt, systemClock.monotonic());
    t.log(`${after.epoch - before.epoch} changes of leader, ${gapMs.toFixed(0)} ms without an acknowledgement`);
    t.true(after.epoch - before.epoch <= 4);
    await finishWell(t, run);
  },
);
