import type { ExecutionContext } from "ava";
import { longestGap } from "./failover-history.ts";
import type { Disturbance } from "./disturb-cluster.ts";
import { pacedStream } from "./run-failover.ts";
import type { FailoverRun } from "./run-failover.ts";

/** Ends a run, and asserts that nothing was lost, doubled, moved, or read that is not there, and that no publish failed. */
export async function finishWell(t: ExecutionContext, run: FailoverRun): Promise<void> {
  const { acknowledged, faults, ...counts } = await run.finish();
  t.log(`${acknowledged} publishes, ${run.cluster.witness.refusedCount} stale writes refused`);
  t.deepEqual(faults, []);
  t.deepEqual(counts, { lost: 0, duplicated: 0, vanished: 0, staleWrites: 0, publishFailures: 0 });
}

/** The longest time without an acknowledgement around a disturbance, in milliseconds. */
export function measureGap(t: ExecutionContext, run: FailoverRun, { startedAt, endedAt }: Disturbance): number {
  const gapMs = longestGap(run.history.acknowledgedAt(pacedStream), startedAt, endedAt);
  t.log(`${gapMs.toFixed(0)} ms without an acknowledgement`);
  return gapMs;
}

/** The subscribers, those that were connected to `node` aside, whose subscriptions broke during a disturbance. */
export function findInterrupted(
  run: FailoverRun,
  { startedAt, endedAt }: Disturbance,
  node?: { readonly endpoint: string },
): string[] {
  return run.history.readers.flatMap(({ name, interruptions }) => {
    const during = interruptions.filter(({ at }) => at >= startedAt && at <= endedAt);
    const broke = during.find(({ address }) => address !== node?.endpoint);
    return broke === undefined ? [] : [`${name}: ${broke.why}`];
  });
}
