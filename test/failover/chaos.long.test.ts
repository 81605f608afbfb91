/** What failover promises, measured: for a machine that does nothing else. */
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

test.serial("failover - fifty kills: publishes wait for 2 s in the middle, 5 s at most", async (t) => {
  t.timeout(1_500_000);
  const summary = await runChaos(t, { ...nothing, seed: 31, kills: 50 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
  t.true(summary.gap_ms_median! <= 2000);
  t.true(summary.gap_ms_max! <= 5000);
});

test.serial("failover - twenty transfers and SIGTERMs: 300 ms in the middle, and no publish fails", async (t) => {
  t.timeout(600_000);
  const summary = await runChaos(t, { ...nothing, seed: 32, transfers: 20 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
  t.true(summary.transfer_gap_ms_median! <= 300);
});

test.serial("failover - five kills of the leader of 200 streams: each goes on within 10 s", async (t) => {
  t.timeout(600_000);
  const summary = await runChaos(t, { ...nothing, seed: 33, kills: 5, streams: 200 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
  t.true(summary.stream_gap_ms_max! <= 10_000);
});

test.serial("failover - twenty freezes: no stale write is accepted, and nothing acknowledged is lost", async (t) => {
  t.timeout(1_500_000);
  const summary = await runChaos(t, { ...nothing, seed: 34, freezes: 20 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
  t.true(summary.stale_writes_refused > 0);
});

test.serial("failover - everything that can happen, for five minutes", async (t) => {
  t.timeout(1_500_000);
  const atRandom = { kills: undefined, freezes: undefined, transfers: undefined };
  const summary = await runChaos(t, { ...atRandom, minutes: 5, streams: 0, seed: 35 }, (text) => t.log(text));
  t.log(summary);
  t.deepEqual(badOf(summary), good);
});

test.serial(
  "failover - a leader cut from the standbys for five minutes: five changes at most, publishes go on",
  async (t) => {
    t.timeout(900_000);
    const run = await startFailoverRun(t, { seed: 36 });
    const before = await run.cluster.waitForLeader();
    const { startedAt } = await cutLeaderFromStandbys(300_000)(run);
    const after = await run.cluster.waitForLeader();
    const gapMs = longestGap(run.history.acknowledgedAt(pacedStream), startedAt, systemClock.monotonic());
    t.log(`${after.epoch - before.epoch} changes of leader, ${gapMs.toFixed(0)} ms without an acknowledgement`);
    t.true(after.epoch - before.epoch <= 5);
    t.true(gapMs < 10_000);
    await finishWell(t, run);
  },
);
