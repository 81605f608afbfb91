/** Networks between nodes, and between a node and storage, are cut. */
import test from "ava";
import {
  cutLeaderFromStandbys,
  cutLeaderFromStorage,
  cutNodesApart,
  cutStandbyFromStorage,
  loseAnswers,
} from "../support/disturb-cluster.ts";
import { finishWell, measureGap } from "../support/finish-well.ts";
import { startFailoverRun } from "../support/run-failover.ts";

test.serial("failover - a leader cut from storage: another takes over", async (t) => {
  t.timeout(180_000);
  const run = await startFailoverRun(t, { seed: 21 });
  measureGap(t, run, await cutLeaderFromStorage(run));
  await finishWell(t, run);
});

test.serial("failover - a leader cut from the standbys alone: publishes go on, one leads at a time", async (t) => {
  t.timeout(180_000);
  const run = await startFailoverRun(t, { seed: 22 });
  const before = await run.cluster.waitForLeader();
  measureGap(t, run, await cutLeaderFromStandbys(10_000)(run));
  const after = await run.cluster.waitForLeader();
  t.log(`${after.epoch - before.epoch} changes of leader`);
  t.true(after.epoch - before.epoch <= 2);
  await finishWell(t, run);
});

test.serial("failover - nodes cut from each other: publishes go on", async (t) => {
  t.timeout(180_000);
  const run = await startFailoverRun(t, { seed: 23 });
  const before = await run.cluster.waitForLeader();
  measureGap(t, run, await cutNodesApart(6000)(run));
  const after = await run.cluster.waitForLeader();
  t.true(after.epoch - before.epoch <= 2);
  await finishWell(t, run);
});

test.serial(
  "failover - a standby cut from storage: the others do not notice, and its subscribers catch up",
  async (t) => {
    t.timeout(180_000);
    const run = await startFailoverRun(t, { seed: 24 });
    const before = await run.cluster.waitForLeader();
    t.true(measureGap(t, run, await cutStandbyFromStorage(6000)(run)) < 10_000);
    t.is((await run.cluster.waitForLeader()).epoch, before.epoch);
    await finishWell(t, run);
  },
);

test.serial(
  "failover - storage does what the leader asks but its answers are lost: nothing is stored twice",
  async (t) => {
    t.timeout(180_000);
    const run = await startFailoverRun(t, { seed: 25, repeatPercent: 20 });
    for (let round = 1; round <= 4; round++) measureGap(t, run, await loseAnswers(run));
    await finishWell(t, run);
  },
);
