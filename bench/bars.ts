import type { FigureName, Figures } from "./measurement.ts";
import { figureUnits } from "./measurement.ts";
import { spreadOf } from "./statistics.ts";
import type { Spread } from "./statistics.ts";

/** What a figure of the vault is to come to, beside the same figure of what limits it. */
export interface Bar {
  readonly name: string;
  readonly figure: FigureName;
  /** The measurement of the vault. */
  readonly measured: string;
  /** Measurements of the limits. The worst of them counts: nothing can be better than the worst of what it needs. */
  readonly limits: readonly string[];
  /** A limit that is a number, where none is measured. */
  readonly fixed?: number;
  /** The ratio that is to be reached: at least that where more is better, else at most. */
  readonly target: number;
}

/** What a page blob takes in a second: 60 MiB. */
const blobMbPerSecond = (60 * 1024 ** 2) / 1e6;

/** Every bar. */
export const bars: readonly Bar[] = [
  rate("publish_file", ["swallow", "raw_page_writes_file"], 0.75),
  rate("publish_single", ["swallow_single"], 0.7, "recordsPerSecond"),
  rate("replay_file_warm", ["blast"], 0.85),
  rate("replay_file_cold", ["blast", "raw_reads_file"], 0.75),
  rate("client_publish", ["raw_publish_one"], 0.8),
  rate("client_replay", ["raw_replay_one"], 0.8),
  { name: "tail_p50", figure: "p50Ms", measured: "tail_1000", limits: ["raw_tail_1000"], target: 1.5 },
  { name: "tail_p99", figure: "p99Ms", measured: "tail_1000", limits: ["raw_tail_1000"], target: 2 },
  { name: "fanout_10k", figure: "reachedAllMs", measured: "fanout_10000", limits: ["bare_fanout_10000"], target: 2 },
  most("fanout_10k_memory", "fanout_10000", "kbPerSubscription", 25),
  telemetryCost("publish", "cpuSecondsPerMillion"),
  telemetryCost("single", "cpuSecondsPerMillion"),
  telemetryCost("replay", "cpuSecondsPerGb"),
  rate("publish_azurite", ["raw_put_page_azurite"], 0.9),
  rate("replay_azurite", ["raw_reads_azurite"], 0.9),
  { ...rate("scale_last_tenth_in", ["scale_load_first_tenth"], 0.9), measured: "scale_load_last_tenth" },
  { ...rate("scale_last_tenth_out", ["scale_replay_first_tenth"], 0.9), measured: "scale_replay_last_tenth" },
  most("scale_memory", "scale_memory", "residentMib", 512),
  most("scale_start", "scale_start", "startMs", 2000),
  most("scale_seek_offset_reads", "scale_seek_offset", "readsPerSeekMax", 3),
  most("scale_seek_time_reads", "scale_seek_time", "readsPerSeekMax", 3),
  { ...rate("publish_azure_model", [], 0.9), fixed: blobMbPerSecond },
  { ...rate("publish_azure_model_16", ["swallow_16"], 0.75), fixed: 16 * blobMbPerSecond },
  most("azure_model_throttled", "publish_azure_model", "throttledShare", 0.01),
];

function rate(name: string, limits: readonly string[], target: number, figure: FigureName = "mbPerSecond"): Bar {
  return { name, figure, measured: name, limits, target };
}

/** What telemetry may cost: 5 % of the processor time. */
function telemetryCost(load: string, figure: FigureName): Bar {
  const [measured, limit] = [`telemetry_on_${load}`, `telemetry_off_${load}`];
  return { name: `telemetry_${load}`, figure, measured, limits: [limit], target: 1.05 };
}

/** A figure that is to be at most so much: the ratio is to that. */
function most(name: string, measured: string, figure: FigureName, fixed: number): Bar {
  return { name, figure, measured, limits: [], fixed, target: 1 };
}

/** What a bar's measurements came to. */
export interface BarResult {
  readonly name: string;
  /** The measured figure divided by that of its limit, round by round. */
  readonly ratio: Spread;
  readonly target: number;
  /** Whether the target is the least or the most that the ratio may be. */
  readonly atLeast: boolean;
  readonly met: boolean;
  readonly unit: string;
  /** Medians of the measured figure and of its limit, and which limit that was. */
  readonly measured: number;
  readonly limit: number;
  readonly limitName: string;
}

/** The figures of each measurement, one entry a round. */
export type Samples = ReadonlyMap<string, readonly Figures[]>;

/** The values of a figure in each round that has it. */
export function valuesOf(samples: Samples, measurement: string, figure: FigureName): number[] {
  return (samples.get(measurement) ?? []).flatMap((figures) => figures[figure] ?? []);
}

/** What a bar came to; undefined where it was not measured. */
export function judgeBar(bar: Bar, samples: Samples): BarResult | undefined {
  const values = valuesOf(samples, bar.measured, bar.figure);
  const { unit, moreIsBetter } = figureUnits[bar.figure];
  const limits = bar.limits.map((name) => ({ name, values: valuesOf(samples, name, bar.figure) }));
  if (bar.fixed !== undefined) limits.push({ name: "a fixed limit", values: values.map(() => bar.fixed!) });
  if (values.length === 0 || limits.some((limit) => limit.values.length !== values.length)) return undefined;
  const sign = moreIsBetter ? 1 : -1;
  const [worst] = limits.toSorted((a, b) => sign * (spreadOf(a.values).median - spreadOf(b.values).median));
  if (worst === undefined) return undefined;
  const ratio = spreadOf(values.map((value, round) => value / worst.values[round]!));
  return {
    name: bar.name,
    ratio,
    target: bar.target,
    atLeast: moreIsBetter,
    met: moreIsBetter ? ratio.median >= bar.target : ratio.median <= bar.target,
    unit,
    measured: spreadOf(values).median,
    limit: spreadOf(worst.values).median,
    limitName: worst.name,
  };
}
