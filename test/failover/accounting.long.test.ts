/** What the metrics of real processes say that were killed, ended and cut off, beside what was seen from outside. */
import test from "ava";
import { accountCluster } from "../support/account-cluster.ts";
import type { ProcessAccount } from "../support/account-cluster.ts";
import { killLeader, loseAnswers, terminateLeader, transferLeadership } from "../support/disturb-cluster.ts";
import { finishWell } from "../support/finish-well.ts";
import { startFailoverRun } from "../support/run-failover.ts";
import { waitUntil } from "../support/wait-until.ts";

const sum = (counts: ReadonlyMap<string, number>) => counts.values().reduce((total, count) => total + count, 0);

/** What differs between what has arrived at storage and what a process has told of. */
function differences({ tally, requests }: ProcessAccount): string[] {
  const names = new Set([...tally.arrived.keys(), ...requests.keys()]);
  return [...names]
    .filter((name) => tally.arrived.get(name) !== requests.get(name))
    .map((name) => `${name}: ${requests.get(name)} of ${tally.arrived.get(name)}`);
}

test("accounting - processes are killed, ended and cut off - every storage request and every failover is in their metrics", async (t) => {
  t.timeout(300_000);
  const settings = ["--http-port", "0"];
  const run = await startFailoverRun(t, { seed: 61, settings });
  const accounts = accountCluster(t, run.cluster);
  // So that none is killed before it has told anything.
  await accounts.scrape();
  for (const disturb of [killLeader, transferLeadership, loseAnswers, killLeader, terminateLeader, killLeader]) {
    await disturb(run);
  }

  await run.endLoad();
  // Of processes that run now all is told, as soon as nothing is under way.
  const running = () => accounts.processes.filter(({ node, name }) => name.endsWith(` at ${node.http}`));
  t.is(running().length, 3);
  for (const account of running()) {
    const isTold = () => differences(account).length === 0;
    // What it has not told of by then is found, by name, by the comparison.
    await waitUntil(isTold, `${account.name} has told of all`, 30_000).catch(() => undefined);
    t.deepEqual(differences(account), [], account.name);
  }
  const counted = accounts.processes.map((account) => ({
    ...account,
    arrived: sum(account.tally.arrived),
    told: sum(account.requests),
  }));
  await accounts.stop();
  for (const { name, told, arrived, scrapes, requests } of counted) {
    t.log(`${name}: ${told} of ${arrived} requests, ${scrapes} scrapes`, Object.fromEntries(requests));
  }
  await finishWell(t, run);

  // Of processes that are gone all is told that had an outcome before their last scrape, and nothing that was not sent.
  t.is(counted.length, 7);
  for (const { name, requests, endedBefore, tally } of counted) {
    for (const [what, count] of endedBefore) {
      t.true((requests.get(what) ?? 0) >= count, `${name}: ${what}: ${requests.get(what)} of ${count} or more`);
    }
    for (const [what, count] of requests) {
      t.true(count <= (tally.arrived.get(what) ?? 0), `${name}: ${what}: ${count} of ${tally.arrived.get(what)}`);
    }
    // One that came back late may have neither written nor read: it has looked at who leads.
    t.true((requests.get("properties") ?? 0) > 0, name);
  }
  for (const what of ["writePages", "download", "acquireLease", "breakLease", "releaseLease", "setMetadata"]) {
    t.true(
      counted.some(({ requests }) => (requests.get(what) ?? 0) > 0),
      `nobody has told of ${what}`,
    );
  }

  // Every leadership that was logged is a failover of the metrics, by its cause.
  const logged = run.cluster.nodes.flatMap((node) => readLeaderships(node.log()));
  const causes = new Map<string, number>();
  for (const { failovers } of counted) {
    for (const [cause, count] of failovers) causes.set(cause, (causes.get(cause) ?? 0) + count);
  }
  const expected = Map.groupBy(logged, ({ cause }) => cause);
  t.deepEqual(Object.fromEntries(causes), Object.fromEntries([...expected].map(([cause, all]) => [cause, all.length])));
  const epochs = logged.map(({ epoch }) => epoch).toSorted((one, other) => one - other);
  t.deepEqual(epochs, [...new Set(epochs)], "one leader an epoch");
  t.true(logged.length >= 6);
  const lost = run.cluster.nodes.flatMap(
    (node) => node.log().match(/"level":"warn".*"this node leads no more"/g) ?? [],
  );
  t.is(
    counted.reduce((total, { fencesLost }) => total + fencesLost, 0),
    lost.length,
  );
  t.log(Object.fromEntries(causes), { lost: lost.length });
});

/** The leaderships that began, as a node has logged them. */
function readLeaderships(log: string): { readonly epoch: number; readonly cause: string }[] {
  return log
    .split("\n")
    .filter((line) => line.includes('"event":"this node leads"'))
    .map((line) => JSON.parse(line) as { epoch: number; cause: string });
}
