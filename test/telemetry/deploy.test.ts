/** The dashboard, the alerts and the documentation name what is in the list of metrics, and all of it. */
import { readFile } from "node:fs/promises";
import test from "ava";

import { type Metric, metrics, spans } from "../../src/telemetry.ts";
import { toPrometheusName } from "../../src/telemetry/prometheus-exporter.ts";
import {
  findLabels,
  findMetricNames,
  readAlertExpressions,
  readAlerts,
  readDashboardExpressions,
} from "../support/read-deploy.ts";

const list = Object.entries(metrics) as [string, Metric][];
const byName = new Map(list.map(([name, metric]) => [toPrometheusName(name, metric), metric]));

/** The metric that a series belongs to; undefined where there is none. */
function findMetric(series: string): Metric | undefined {
  const metric = byName.get(series);
  if (metric !== undefined) return metric.kind === "histogram" ? undefined : metric;
  const histogram = byName.get(series.replace(/_(bucket|sum|count)$/, ""));
  return histogram?.kind === "histogram" ? histogram : undefined;
}

test("deploy - every metric and label in the dashboard and in the alerts exists", async (t) => {
  const expressions = [...(await readDashboardExpressions()), ...(await readAlertExpressions())];
  t.true(expressions.length > 60);
  const scraped = new Set(["job", "instance", "le"]);
  for (const { place, promql } of expressions) {
    const names = findMetricNames(promql);
    if (!/\bup\b/.test(promql)) t.true(names.length > 0, `${place} has no metric: ${promql}`);
    const found = names.map((name) => {
      const metric = findMetric(name);
      t.not(metric, undefined, `${place}: there is no ${name}`);
      return metric;
    });
    const labels = new Set(
      found.flatMap((metric) => metric?.attributes.map((name) => name.replaceAll(".", "_")) ?? []),
    );
    const unknown = findLabels(promql).filter((label) => !labels.has(label) && !scraped.has(label));
    t.deepEqual(unknown, [], `${place}: ${promql}`);
  }
});

test("deploy - every metric is on the dashboard", async (t) => {
  const names = (await readDashboardExpressions()).flatMap(({ promql }) => findMetricNames(promql));
  const shown = new Set(names.map(findMetric));
  // Beside p99 and the longest, which are shown.
  const left = ["nodejs.eventloop.delay.mean", "nodejs.eventloop.delay.p50"];
  t.deepEqual(
    list.filter(([, metric]) => !shown.has(metric)).map(([name]) => name),
    left,
  );
});

test("deploy - every alert is tested, and has an entry in the runbook", async (t) => {
  const names = await readAlerts();
  t.true(names.length > 15);
  const [rules, tests, runbook] = await Promise.all(
    ["deploy/prometheus/alerts.yaml", "deploy/prometheus/alerts.test.yaml", "docs/operations.md"].map((path) =>
      readFile(path, "utf8"),
    ),
  );
  for (const name of names) {
    t.true(rules!.includes(`runbook: docs/operations.md#${name.toLowerCase()}\n`), name);
    t.true(tests!.includes(`alertname="${name}"`), `${name} fires in no test`);
    t.true(runbook!.includes(`\n### ${name}\n`), `${name} has no entry in docs/operations.md`);
  }
});

const kinds = { counter: "counter", histogram: "histogram", observedCounter: "counter", observedSum: "sum" } as const;

test("deploy - docs/operations.md has the list of metrics and spans as it is", async (t) => {
  const text = await readFile("docs/operations.md", "utf8");
  const rows = text.matchAll(/^\| (`?[a-z][\w.]+`?) \| (.+?) \| (.+?) \| (.+?) \|(?: .+ \|)?$/gm);
  const documented = new Map([...rows].map(([, name, ...cells]) => [name, cells]));
  for (const [name, { kind, unit, attributes, description }] of list) {
    const what = `${kind === "observedGauge" ? "gauge" : kinds[kind]}, ${unit.replaceAll(/[{}]/g, "")}`;
    const names = attributes.map((attribute) => `\`${attribute}\``).join(", ") || "–";
    t.deepEqual(documented.get(`\`${name}\``), [what, names, description], name);
  }
  const known = new Set(list.map(([name]) => `\`${name}\``));
  const metricRows = [...text.matchAll(/^\| (`[a-z][\w.]+`) \| (?:counter|histogram|sum|gauge), /gm)];
  t.deepEqual(
    metricRows.map(([, name]) => name).filter((name) => !known.has(name!)),
    [],
  );
  for (const [name, { kind, description }] of Object.entries(spans)) {
    t.true(text.includes(`| ${name} | ${kind} | ${description} |`), `the span ${name}`);
  }
});
