/** The leader's process goes away, at once or in order: what was acknowledged stays, and the others go on. */
import test from "ava";
import { longestGap } from "../support/failover-history.ts";
import { pacedStream, startFailoverRun } from "../support/run-failover.ts";
import { systemClock } from "../../src/clock.ts";

test.serial("failover - the leader is killed three times", async (t) => {
  t.timeout(180_000);
  const run = await startFailoverRun(t, { seed: 1 });
  const { cluster, history } = run;
  for (let kill = 1; kill <= 3; kill++) {
    const { node, epoch } = await cluster.waitForLeader();
    const killedAt = systemClock.monotonic();
    await node.stop("SIGKILL");
    const next = await cluster.waitForLeader(epoch);
    t.not(next.node, node);
    await run.waitForAcknowledgements(20);
    t.log(`gap ${longestGap(history.acknowledgedAt(pacedStream), killedAt, systemClock.monotonic()).toFixed(0)} ms`);
    await node.start();
  }
  const verdict = await run.finish();
  t.log(verdict);
  t.deepEqual(verdict.faults, []);
});
