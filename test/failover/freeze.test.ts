/** A leader or storage stands still, and goes on as if nothing had happened. */
import test from "ava";
import { freezeLeader, freezeStorage } from "../support/disturb-cluster.ts";
import { findInterrupted, finishWell, measureGap } from "../support/finish-well.ts";
import { startFailoverRun } from "../support/run-failover.ts";

test.serial(
  "failover - a leader frozen past its lease, with a write under way, writes nothing when it wakes",
  async (t) => {
    t.timeout(180_000);
    const run = await startFailoverRun(t, { seed: 11 });
    const { node } = await run.cluster.waitForLeader();
    const disturbance = await freezeLeader(true)(run);
    measureGap(t, run, disturbance);
    t.deepEqual(findInterrupted(run, disturbance, node), []);
    t.true(run.cluster.witness.refusedCount > 0, "its write came, and was refused");
    await finishWell(t, run);
  },
);

test.serial("failover - storage frozen for 20 s: everything goes on when it is back", async (t) => {
  t.timeout(180_000);
  const run = await startFailoverRun(t, { seed: 12 });
  measureGap(t, run, await freezeStorage(run));
  await finishWell(t, run);
});
