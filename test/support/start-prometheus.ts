/** A real Prometheus in a process of its own, from Debian's package. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { provideProgram } from "../../scripts/debian-package.ts";
import { sleep, systemClock } from "../../src/clock.ts";
import type { Scope } from "./create-scope.ts";
import { findFreePort } from "./find-free-port.ts";

/** A series with its value. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An alert's rule, as Prometheus evaluated it last. */
export interface EvaluatedRule {
  readonly name: string;
  /** `ok`, `err`, or `unknown` before it was first evaluated. */
  readonly health: string;
  readonly lastError?: string;
}

/** A Prometheus that scrapes. */
export interface Prometheus {
  /** What an expression gives now. Throws where it is none. */
  query(promql: string): Promise<Sample[]>;
  rules(): Promise<EvaluatedRule[]>;
}

const startMsMax = 60_000;

/** Starts a Prometheus that scrapes `targets` (`host:port`) every second with this repository's alerts, until `scope` ends. */
export async function startPrometheus(scope: Scope, targets: readonly string[]): Promise<Prometheus> {
  const program = await provideProgram("prometheus", "prometheus");
  const directory = await mkdtemp(join(tmpdir(), "message-vault-prometheus-"));
  scope.teardown(() => rm(directory, { recursive: true, force: true }));
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [resolve("deploy/prometheus/alerts.yaml")],
    scrape_configs: [{ job_name: "message-vault", static_configs: [{ targets }] }],
  };
  // JSON is YAML.
  await writeFile(join(directory, "prometheus.yaml"), JSON.stringify(config));
  const port = await findFreePort(scope);
  const flags = [
    `--config.file=${join(directory, "prometheus.yaml")}`,
    `--storage.tsdb.path=${join(directory, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--log.level=warn",
  ];
  const child = spawn(program, flags, { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  const exited = new Promise<void>((done) => void child.once("exit", () => done()));
  scope.teardown(() => {
    child.kill("SIGKILL");
    return exited;
  });
  const url = `http://127.0.0.1:${port}`;
  await waitForReady(`${url}/-/ready`, () => errors);
  return {
    async query(promql) {
      const { result } = (await ask(`${url}/api/v1/query?query=${encodeURIComponent(promql)}`)) as QueryResult;
      return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
    },
    async rules() {
      const { groups } = (await ask(`${url}/api/v1/rules`)) as { groups: { rules: EvaluatedRule[] }[] };
      return groups.flatMap(({ rules }) => rules);
    },
  };
}

interface QueryResult {
  readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[];
}

async function ask(url: string): Promise<unknown> {
  const { status, data, error } = (await (await fetch(url)).json()) as {
    status: string;
    data: unknown;
    error?: string;
  };
  if (status !== "success") throw new Error(`Prometheus: ${error}`);
  return data;
}

async function waitForReady(url: string, errors: () => string): Promise<void> {
  const end = systemClock.monotonic() + startMsMax;
  for (;;) {
    const ready = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return;
    if (systemClock.monotonic() > end) throw new Error(`Prometheus does not start: ${errors()}`);
    await sleep(systemClock, 50);
  }
}
