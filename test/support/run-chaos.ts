/** Many disturbances, one after the other, under load: from a seed, with a summary. */
import { sleep, systemClock } from "../../src/clock.ts";
import type { Verdict } from "./check-history.ts";
import type { Scope } from "./create-scope.ts";
import * as disturb from "./disturb-cluster.ts";
import type { Disturb, Disturbance } from "./disturb-cluster.ts";
import { longestGap } from "./failover-history.ts";
import { pacedStream, startFailoverRun } from "./run-failover.ts";
import type { FailoverRun } from "./run-failover.ts";

/** What to do to a cluster. */
export interface ChaosPlan {
  readonly seed: number;
  /** How long the disturbances go on, at least; without numbers of them also at most. */
  readonly minutes: number;
  /** How many of each; all undefined: as many of every kind as there is time for. */
  readonly kills: number | undefined;
  readonly freezes: number | undefined;
  /** Every other one is a SIGTERM of the leader. */
  readonly transfers: number | undefined;
  /** How many streams are written to beside the three that are read. */
  readonly streams: number;
}

/** What a chaos run came to. */
export interface ChaosSummary {
  readonly seed: number;
  readonly minutes: number;
  readonly kills: number;
  readonly freezes: number;
  readonly transfers: number;
  /** Disturbances of other kinds. */
  readonly others: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly vanished: number;
  readonly stale_writes: number;
  /** Stale writes that storage refused, as it should. */
  readonly stale_writes_refused: number;
  readonly publish_failures: number;
  /** Between two publishes that were acknowledged, around kills; null without any. */
  readonly gap_ms_median: number | null;
  readonly gap_ms_max: number | null;
  readonly transfer_gap_ms_median: number | null;
  readonly transfer_gap_ms_max: number | null;
  readonly freeze_gap_ms_median: number | null;
  readonly freeze_gap_ms_max: number | null;
  /** The longest gap of any of the streams beside the three that are read, around kills. */
  readonly stream_gap_ms_max: number | null;
  /** What was wrong, in words. */
  readonly faults: readonly string[];
}

type Kind = "kill" | "freeze" | "transfer" | "other";

interface Event {
  readonly name: string;
  readonly kind: Kind;
  readonly run: Disturb;
}

interface Measured {
  readonly kind: Kind;
  readonly gapMs: number;
  readonly disturbance: Disturbance;
}

const kill: Event = { name: "SIGKILL of the leader", kind: "kill", run: disturb.killLeader };
const terminate: Event = { name: "SIGTERM of the leader", kind: "transfer", run: disturb.terminateLeader };
const transfer: Event = { name: "transfer of leadership", kind: "transfer", run: disturb.transferLeadership };
const freeze: Event = { name: "SIGSTOP of the leader", kind: "freeze", run: disturb.freezeLeader(false) };
const longFreeze: Event = { name: "SIGSTOP past the lease", kind: "freeze", run: disturb.freezeLeader(true) };
const others: readonly Event[] = [
  { name: "leader cut from storage", kind: "other", run: disturb.cutLeaderFromStorage },
  { name: "answers of storage to the leader lost", kind: "other", run: disturb.loseAnswers },
  { name: "standby cut from storage", kind: "other", run: disturb.cutStandbyFromStorage(8000) },
  { name: "leader cut from standbys", kind: "other", run: disturb.cutLeaderFromStandbys(8000) },
  { name: "nodes cut apart", kind: "other", run: disturb.cutNodesApart(8000) },
  { name: "storage frozen", kind: "other", run: disturb.freezeStorage },
  { name: "all nodes killed", kind: "other", run: disturb.killAllNodes },
  { name: "rolling restart", kind: "other", run: disturb.restartAllNodes },
];

// Between two disturbances: at least half of it, at most three halves.
const pauseMs = 1500;

/** Runs a plan. `say` hears of the progress. */
export async function runChaos(scope: Scope, plan: ChaosPlan, say: (text: string) => void): Promise<ChaosSummary> {
  const run = await startFailoverRun(scope, { seed: plan.seed, moreStreams: plan.streams });
  const startedAt = systemClock.monotonic();
  const limitMs = plan.minutes * 60_000;
  const elapsedMs = () => systemClock.monotonic() - startedAt;
  const measured: Measured[] = [];
  const events = planEvents(plan, run.random);
  const plannedCount = countPlanned(plan);
  for (const event of events) {
    if (plannedCount === 0 && elapsedMs() >= limitMs) break;
    // With numbers given, the disturbances are spread over the time.
    const dueMs = plannedCount === 0 ? 0 : (limitMs * measured.length) / plannedCount;
    await sleep(systemClock, Math.max(pauseMs * (0.5 + run.random()), dueMs - elapsedMs()));
    const disturbance = await event.run(run).catch((error: unknown) => {
      say(`${measured.length + 1}: ${event.name}: is not over; what the nodes logged last:\n${lastLogged(run)}`);
      throw error;
    });
    const { startedAt: from, endedAt: to } = disturbance;
    const gapMs = longestGap(run.history.acknowledgedAt(pacedStream), from, to);
    measured.push({ kind: event.kind, gapMs, disturbance });
    say(`${measured.length}: ${event.name}: gap ${gapMs.toFixed(0)} ms, over after ${(to - from).toFixed(0)} ms`);
  }
  await sleep(systemClock, Math.max(0, plannedCount === 0 ? 0 : limitMs - elapsedMs()));
  const minutes = elapsedMs() / 60_000;
  say("checking");
  const verdict = await run.finish();
  return summarize(plan.seed, minutes, measured, verdict, run);
}

// Enough for an election and what led to it.
const loggedLinesMax = 100;

function lastLogged({ cluster }: FailoverRun): string {
  const lines = cluster.nodes.flatMap(({ name, log }) => [
    `node ${name}:`,
    ...log().split("\n").slice(-loggedLinesMax),
  ]);
  return lines.join("\n");
}

function countPlanned({ kills = 0, freezes = 0, transfers = 0 }: ChaosPlan): number {
  return kills + freezes + transfers;
}

/** The disturbances of a plan in random order, or random ones without end. */
function* planEvents(plan: ChaosPlan, random: () => number): Generator<Event> {
  const { kills, freezes, transfers } = plan;
  if (kills === undefined && freezes === undefined && transfers === undefined) {
    const choice = [kill, kill, kill, terminate, transfer, freeze, longFreeze, ...others];
    for (;;) yield choice[Math.floor(random() * choice.length)]!;
  }
  const planned = [
    ...Array.from({ length: kills ?? 0 }, () => kill),
    ...Array.from({ length: freezes ?? 0 }, (_, i) => (i % 2 === 0 ? freeze : longFreeze)),
    ...Array.from({ length: transfers ?? 0 }, (_, i) => (i % 2 === 0 ? transfer : terminate)),
  ];
  const order = planned.map((event) => ({ event, key: random() })).toSorted((a, b) => a.key - b.key);
  for (const { event } of order) yield event;
}

function summarize(
  seed: number,
  minutes: number,
  measured: readonly Measured[],
  verdict: Verdict,
  run: FailoverRun,
): ChaosSummary {
  const gaps = (kind: Kind) => measured.filter((one) => one.kind === kind).map(({ gapMs }) => gapMs);
  const [kills, freezes, transfers] = [gaps("kill"), gaps("freeze"), gaps("transfer")];
  // Only now: a stream that is written to seldom goes on long after the others.
  const streamGaps = measured
    .filter(({ kind }) => kind === "kill")
    .flatMap(({ disturbance }) => run.measureStreamGaps(disturbance));
  return {
    seed,
    minutes: Math.round(minutes * 10) / 10,
    kills: kills.length,
    freezes: freezes.length,
    transfers: transfers.length,
    others: gaps("other").length,
    acknowledged: verdict.acknowledged,
    lost: verdict.lost,
    duplicated: verdict.duplicated,
    vanished: verdict.vanished,
    stale_writes: verdict.staleWrites,
    stale_writes_refused: run.cluster.witness.refusedCount,
    publish_failures: verdict.publishFailures,
    gap_ms_median: median(kills),
    gap_ms_max: largest(kills),
    transfer_gap_ms_median: median(transfers),
    transfer_gap_ms_max: largest(transfers),
    freeze_gap_ms_median: median(freezes),
    freeze_gap_ms_max: largest(freezes),
    stream_gap_ms_max: largest(streamGaps),
    faults: verdict.faults,
  };
}

function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? null : Math.round((low + high) / 2);
}

function largest(values: readonly number[]): number | null {
  return values.length === 0 ? null : Math.round(Math.max(...values));
}
