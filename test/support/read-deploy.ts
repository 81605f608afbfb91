/** What stands in deploy/: the expressions of the dashboard and of the alerts. */
import { readFile } from "node:fs/promises";

/** An expression in PromQL, and where it stands. */
export interface Expression {
  readonly place: string;
  readonly promql: string;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** The names of all alerts. */
export async function readAlerts(): Promise<string[]> {
  const text = await readFile("deploy/prometheus/alerts.yaml", "utf8");
  return [...text.matchAll(/^ *- alert: (\w+)$/gm)].map(([, name]) => name!);
}

/** Every expression of the dashboard, with its variables filled in. */
export async function readDashboardExpressions(): Promise<Expression[]> {
  const { panels } = JSON.parse(await readFile("deploy/grafana/message-vault.json", "utf8")) as { panels: Panel[] };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({
      place: `panel "${title}"`,
      promql: expr.replaceAll("$__rate_interval", "1m").replaceAll(/"\$(job|instance)"/g, '".+"'),
    })),
  );
}

/** Every expression of the alerts. */
export async function readAlertExpressions(): Promise<Expression[]> {
  const text = await readFile("deploy/prometheus/alerts.yaml", "utf8");
  return text
    .split(/^ *- alert: /m)
    .slice(1)
    .map((rule) => {
      const [name] = /^\w+/.exec(rule)!;
      const block = /^ *expr: (?:\|\n(?<block>(?: {10}.*\n)+)|'(?<quoted>(?:[^']|'')*)'|(?<plain>.*))/m.exec(
        rule,
      )!.groups!;
      const promql = block["block"] ?? block["quoted"]?.replaceAll("''", "'") ?? block["plain"]!;
      return { place: `alert ${name}`, promql: promql.trim() };
    });
}

/** The names of the metrics in an expression. Those of `up` and of functions are none. */
export function findMetricNames(promql: string): string[] {
  const bare = promql
    .replaceAll(/\{[^}]*\}/g, " ")
    .replaceAll(/\[[^\]]*\]/g, " ")
    .replaceAll(/\b(by|without|on|ignoring)\s*\([^)]*\)/g, " ");
  return [...new Set(bare.match(/\b[a-z][a-z0-9]*(?:_\w+)+\b/g) ?? [])].filter((name) => name !== "histogram_quantile");
}

/** The names of the labels that an expression selects or groups by. */
export function findLabels(promql: string): string[] {
  const selectors = [...promql.matchAll(/\{([^}]*)\}/g)].flatMap(([, inner]) => [...inner!.matchAll(/(\w+)\s*[=!]/g)]);
  const groups = [...promql.matchAll(/\b(?:by|without)\s*\(([^)]*)\)/g)].flatMap(([, inner]) => [
    ...inner!.matchAll(/(\w+)/g),
  ]);
  return [...new Set([...selectors, ...groups].map(([, label]) => label!))];
}
