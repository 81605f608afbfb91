/**
 * Scrapes the metrics of every process of a cluster, and keeps the last scrape of each beside what is known of it from
 * elsewhere: what its network to storage has counted, and what it logged.
 */
import { sleep, systemClock } from "../../src/clock.ts";
import type { ClusterNode, NodeCluster } from "./create-node-cluster.ts";
import type { Scope } from "./create-scope.ts";
import type { RequestTally } from "./request-tally.ts";
import { wireNames } from "./request-tally.ts";

/** One process of a cluster, from its start to its end. */
export interface ProcessAccount {
  /** The node's name, and where its metrics were. */
  readonly name: string;
  readonly node: ClusterNode;
  readonly tally: RequestTally;
  /** Requests to storage that it had told of in its last scrape, by what they are called on the wire. */
  requests: ReadonlyMap<string, number>;
  /** Requests that had an outcome two scrapes before the last one: that one must have told of them. */
  endedBefore: ReadonlyMap<string, number>;
  /** How often it became the leader, by cause, in its last scrape. */
  failovers: ReadonlyMap<string, number>;
  fencesLost: number;
  /** How many scrapes of it there were. */
  scrapes: number;
}

/** The accounts of a cluster. */
export interface ClusterAccounts {
  readonly processes: readonly ProcessAccount[];
  /** Scrapes the processes that run now, once. */
  scrape(): Promise<void>;
  /** Ends scraping. */
  stop(): Promise<void>;
}

const scrapeEveryMs = 100;

/** Begins to scrape, until `scope` ends. The nodes must have HTTP ports. */
export function accountCluster(scope: Scope, cluster: NodeCluster): ClusterAccounts {
  const processes = new Map<string, ProcessAccount>();
  const history = new Map<ProcessAccount, ReadonlyMap<string, number>[]>();
  const stopping = new AbortController();

  async function scrapeNode(node: ClusterNode): Promise<void> {
    const { http } = node;
    if (http === undefined) return;
    let account = processes.get(http);
    if (account === undefined) {
      const nothing = new Map<string, number>();
      const told = { requests: nothing, endedBefore: nothing, failovers: nothing, fencesLost: 0, scrapes: 0 };
      account = { name: `${node.name} at ${http}`, node, tally: node.storage.tally, ...told };
      processes.set(http, account);
      history.set(account, []);
    }
    const before = history.get(account)!;
    before.push(new Map(account.tally.ended));
    const text = await fetchMetrics(http);
    // It was killed meanwhile, or stands still.
    if (text === undefined) return void before.pop();
    if (before.length > 2) account.endedBefore = before.shift()!;
    readInto(account, text);
  }

  const scrape = async () => void (await Promise.all(cluster.nodes.map(scrapeNode)));

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await scrape();
      await sleep(systemClock, scrapeEveryMs, stopping.signal);
    }
  }

  const running = run();
  const stop = () => {
    stopping.abort();
    return running;
  };
  scope.teardown(stop);
  return {
    get processes() {
      return [...processes.values()];
    },
    scrape,
    stop,
  };
}

async function fetchMetrics(http: string): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${http}/metrics`, { signal: AbortSignal.timeout(5000) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

function readInto(account: ProcessAccount, text: string): void {
  const requests = new Map<string, number>();
  for (const [operation, count] of readSeries(
    text,
    "messagevault_storage_request_duration_seconds_count",
    "operation",
  )) {
    const what = wireNames[operation] ?? operation;
    requests.set(what, (requests.get(what) ?? 0) + count);
  }
  account.requests = requests;
  account.failovers = readSeries(text, "messagevault_failovers_total", "cause");
  account.fencesLost = readSeries(text, "messagevault_fences_lost_total", "").get("") ?? 0;
  account.scrapes++;
}

/** The sums of a metric's series, by the label whose name ends so. */
function readSeries(text: string, name: string, label: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, labels = "", value] = new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)`).exec(line) ?? [];
    if (value === undefined) continue;
    const key = label === "" ? "" : (new RegExp(`_${label}="([^"]*)"`).exec(labels)?.[1] ?? "");
    sums.set(key, (sums.get(key) ?? 0) + Number(value));
  }
  return sums;
}
