import test from "ava";
import { observeStore } from "../../src/blob/observe-requests.ts";
import { createTestTelemetry, sumOf, type TestTelemetry } from "../support/create-telemetry.ts";
import { simulate } from "./simulate.ts";
import { checkoutRoot, loadSource } from "./source.ts";
import type { StorageLink } from "./storage-link.ts";

/** A process of a run, with what it has told. */
interface Observed {
  readonly name: string;
  readonly link: StorageLink;
  readonly told: TestTelemetry;
}

async function observeRun(seed: number) {
  const processes: Observed[] = [];
  const result = await simulate(await loadSource(checkoutRoot), seed, {
    traceKeptMax: 10_000_000,
    equip(host, link) {
      const told = createTestTelemetry();
      processes.push({ name: host.name, link, told });
      return { store: observeStore(link, host.clock, told.telemetry), telemetry: told.telemetry };
    },
  });
  const lines = result.trace.map((line) => line.trimEnd().split(" ").slice(1));
  return { result, processes, lines };
}

/** How often each operation was sent, as the way to storage has recorded it. */
function countSent(lines: readonly string[][], name: string): Map<string, number> {
  const sent = new Map<string, number>();
  for (const [who, arrow, operation = ""] of lines) {
    if (who === name && arrow === "→") sent.set(operation, (sent.get(operation) ?? 0) + 1);
  }
  return sent;
}

for (const seed of [7, 21]) {
  test(`accounting - a run of faults, seed ${seed} - every storage request and every failover is in the metrics`, async (t) => {
    t.timeout(120_000);
    const { result, processes, lines } = await observeRun(seed);
    t.deepEqual(result.violations, []);
    t.true(result.stats.failovers > 0);
    t.true(processes.length > 3, "processes were killed");
    let led = 0;
    let lost = 0;
    let throttles = 0;
    for (const { name, link, told } of processes) {
      const metrics = await told.collect();
      const requests = metrics.get("messagevault.storage.request.duration");
      const sent = countSent(lines, name);
      // What was under way when the process ended has no outcome.
      let open = 0;
      for (const [operation, count] of sent) {
        const counted = sumOf(requests, { "messagevault.storage.operation": operation });
        t.true(counted <= count, `${name}: ${operation}: ${counted} of ${count}`);
        open += count - counted;
      }
      t.is(open, link.pending, name);
      t.is(
        sumOf(requests) + open,
        sent.values().reduce((sum, count) => sum + count, 0),
        name,
      );
      throttles += sumOf(metrics.get("messagevault.storage.throttles"));
      t.is(sumOf(metrics.get("messagevault.storage.throttles")), sumOf(requests, { "error.type": "overloaded" }));
      led += sumOf(metrics.get("messagevault.failovers"));
      lost += sumOf(metrics.get("messagevault.fences.lost"));
    }
    const logged = (level: string, event: string) =>
      lines.filter((line) => line.slice(1).join(" ").startsWith(`${level}: ${event}`)).length;
    t.is(led, logged("info", "this node leads epoch="));
    t.true(led > result.stats.failovers, "the first leader replaces nobody");
    t.is(lost, logged("warn", "this node leads no more"));
    t.log({ processes: processes.length, led, lost, throttles, operations: result.stats.operations });
  });
}
