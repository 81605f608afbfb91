/** What the vault tells, judged by Prometheus' own programs: promtool, and a Prometheus that scrapes. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import test from "ava";
import type { ExecutionContext } from "ava";

import { provideProgram } from "../../scripts/debian-package.ts";
import { sleep, systemClock } from "../../src/clock.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { findMetricNames, readAlertExpressions, readAlerts, readDashboardExpressions } from "../support/read-deploy.ts";
import { createStorageProxy } from "../support/create-storage-proxy.ts";
import { startPrometheus } from "../support/start-prometheus.ts";
import type { Prometheus } from "../support/start-prometheus.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import type { VaultProcess } from "../support/start-vault-process.ts";

const run = promisify(execFile);

const testMsMax = 240_000;
const scrapedMsMax = 60_000;

async function promtool(...args: string[]): Promise<string> {
  const { stdout, stderr } = await run(await provideProgram("promtool", "prometheus"), args);
  return stdout + stderr;
}

/** What promtool says against metrics; nothing where they are as they should be. */
async function lint(metrics: string): Promise<string> {
  const child = spawn(await provideProgram("promtool", "prometheus"), ["check", "metrics"], { stdio: "pipe" });
  let said = "";
  child.stdout.on("data", (text: Buffer) => (said += text.toString()));
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  child.stdin.end(metrics);
  await once(child, "close");
  return said;
}

/** Looks until `condition` holds. */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = systemClock.monotonic() + scrapedMsMax;
  while (!(await condition())) {
    if (systemClock.monotonic() > end) throw new Error(`after ${scrapedMsMax} ms still not: ${what}`);
    await sleep(systemClock, 100);
  }
}

test("prometheus - promtool accepts the alerts, and they fire when they should and else do not", async (t) => {
  t.timeout(testMsMax);
  t.regex(await promtool("check", "config", "deploy/prometheus/scrape.yaml"), /SUCCESS: \d+ rules found/);
  t.regex(await promtool("test", "rules", "deploy/prometheus/alerts.test.yaml"), /SUCCESS/);
});

/** Two nodes on one storage, of which the first leads; whatever a client may do was done, and the leader was killed. */
async function createEventfulVault(t: ExecutionContext) {
  const azurite = await createAzurite(t);
  const network = await createStorageProxy(t, azurite.endpoint);
  const storage = azurite.setting.replaceAll(azurite.endpoint, network.endpoint);
  const start = () => startVaultProcess(t, ["--storage", storage, "--http-port", "0"]);
  const first = await start();
  const second = await start();
  const following = createClient(t, second);
  const subscription = following.subscribe("orders", { start: { at: "earliest" } }).batches();
  const receipt = await following.publish("orders", [{ value: "one" }]);
  const again = { producer: { id: "p", sequence: 1n } };
  for (let i = 0; i < 2; i++) await following.publish("orders", [{ value: "two" }], again);
  await t.throwsAsync(following.publish("orders", [{ value: "three" }], { expectedOffset: receipt.firstOffset }));
  await subscription.next();
  const prometheus = await startPrometheus(t, [first.http!, second.http!]);
  return { first, second, following, subscription, prometheus, network };
}

async function scrape({ http }: VaultProcess): Promise<string> {
  return (await fetch(`http://${http}/metrics`)).text();
}

/** The sum of all series of a metric, over all nodes. */
async function total(prometheus: Prometheus, series: string): Promise<number> {
  return (await prometheus.query(`sum(${series})`))[0]?.value ?? 0;
}

test("prometheus - scrapes a running vault: every panel and alert has its metrics, and they count what happened", async (t) => {
  t.timeout(testMsMax);
  const { first, second, following, subscription, prometheus, network } = await createEventfulVault(t);
  await until("both nodes are scraped", async () => (await total(prometheus, "up")) === 2);
  await until("both have told", async () => (await prometheus.query("messagevault_leader_leads")).length === 2);
  t.is(await total(prometheus, "messagevault_publish_records_total"), 2);
  t.is(await total(prometheus, "messagevault_publish_duplicates_total"), 1);
  t.is(await total(prometheus, 'messagevault_publish_failures_total{error_type="conflict"}'), 1);
  t.is(await total(prometheus, "messagevault_leader_leads"), 1);
  t.is(await lint(await scrape(first)), "");

  await first.kill("SIGKILL");
  const next = { producer: { id: "p", sequence: 2n } };
  t.is((await following.publish("orders", [{ value: "four" }], next)).firstOffset, 2n);
  await t.throwsAsync(following.publish("orders", [{ value: "five" }], { expectedOffset: 0n }));
  network.inject({ answer: 503, code: "ServerBusy" }, 1, ({ url = "" }) => url.includes("comp=page"));
  await following.publish("orders", [{ value: "six" }], { producer: { id: "p", sequence: 3n } });
  network.inject("reset", 1, ({ method }) => method === "GET");
  await following.getStream("none").catch(() => undefined);
  await subscription.next();
  await until("the failover is scraped", async () => {
    return (await total(prometheus, 'messagevault_failovers_total{messagevault_failover_cause="gone"}')) === 1;
  });
  t.is(await lint(await scrape(second)), "");

  // Rates need two scrapes.
  await until("rates are there", async () => {
    const names = [
      "failover_gap_seconds_count",
      "publish_failures_total",
      "storage_throttles_total",
      "storage_retries_total",
    ];
    const rates = await Promise.all(names.map((name) => prometheus.query(`rate(messagevault_${name}[1m])`)));
    return rates.every(({ length }) => length > 0);
  });
  for (const { place, promql } of await readDashboardExpressions()) {
    const found = await prometheus.query(promql);
    t.true(found.length > 0, `${place} is empty: ${promql}`);
  }
  const names = (await readAlertExpressions()).flatMap(({ promql }) => findMetricNames(promql));
  for (const name of new Set(names)) {
    const found = await prometheus.query(`{__name__="${name}"}`);
    t.true(found.length > 0, `there is no ${name}`);
  }
  const healthOf = async () => (await prometheus.rules()).map(({ name, health }) => `${name} ${health}`);
  await until("all rules were evaluated", async () => (await healthOf()).every((line) => !line.endsWith("unknown")));
  const expected = (await readAlerts()).map((name) => `${name} ok`);
  t.deepEqual((await healthOf()).toSorted(), expected.toSorted());
});
