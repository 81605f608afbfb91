/**
 * What the bench is made of.
 *
 * A **group** prepares what it needs (vaults, bare servers, load generators, each a process of its own) and gives
 * **measurements**. In each round every measurement of the group is run once, one after the other, so that what else the
 * machine does falls on all alike. A run gives **figures**: names that end in their unit, with values. A **bar**
 * (`bars.ts`) sets a figure beside the same figure of its limits, round by round.
 *
 * To add a measurement:
 *
 * 1. Write `groups/NAME.ts` with a `Group`: `measurements` lists the names, `prepare` starts what is needed (everything
 *    started goes on `context.stack`, files go below `context.directory`) and returns a `Measurement` for each name in
 *    `context.wanted`; it should not prepare what the others need. The limit is a measurement like any other.
 *    `groups/publish.ts` is the pattern; `publish()` there loads any vault by its endpoint, `startVault` starts one.
 * 2. Add the group to `groups.ts`, and a bar to `bars.ts` if there is one.
 * 3. Say in docs/performance.md what it measures.
 *
 * `npm run bench -- --only NAME --rounds 3` then runs it alone, where NAME is a group, a measurement or a bar.
 */
import { readCpuSeconds } from "./machine.ts";

/** What one run of a measurement gave: figure → value. `figureUnits` has the names. */
export type Figures = Readonly<Partial<Record<FigureName, number>>>;

/** Every figure: what of, where the unit alone does not say it, its unit, and whether more of it is better. */
export const figureUnits = {
  mbPerSecond: { unit: "MB/s", moreIsBetter: true },
  recordsPerSecond: { unit: "records/s", moreIsBetter: true },
  requestsPerSecond: { unit: "requests/s", moreIsBetter: true },
  p50Ms: { of: "p50", unit: "ms", moreIsBetter: false },
  p90Ms: { of: "p90", unit: "ms", moreIsBetter: false },
  p99Ms: { of: "p99", unit: "ms", moreIsBetter: false },
  p999Ms: { of: "p99.9", unit: "ms", moreIsBetter: false },
  cpuSecondsPerMillion: { unit: "CPU s per million records", moreIsBetter: false },
  cpuSecondsPerGb: { unit: "CPU s/GB", moreIsBetter: false },
  answeredP50Ms: { of: "p50 until the publisher has its answer,", unit: "ms", moreIsBetter: false },
  roundTripP50Ms: { of: "p50 of the round trip,", unit: "ms", moreIsBetter: false },
  pageWriteP50Ms: { of: "p50 of a page write,", unit: "ms", moreIsBetter: false },
  reachedAllMs: { of: "all reached", unit: "ms", moreIsBetter: false },
  kbPerSubscription: { unit: "KB per subscription", moreIsBetter: false },
  residentMib: { unit: "MiB resident at most", moreIsBetter: false },
  startMs: { of: "start to serving,", unit: "ms", moreIsBetter: false },
  readsPerSeek: { unit: "storage reads per seek", moreIsBetter: false },
  readsPerSeekMax: { unit: "storage reads per seek at most", moreIsBetter: false },
  storageRequestsPerSecond: { of: "storage", unit: "requests/s", moreIsBetter: false },
  throttledShare: { unit: "of requests throttled", moreIsBetter: false },
  refusedShare: { unit: "of requests refused", moreIsBetter: false },
} as const satisfies Record<string, FigureUnit>;

interface FigureUnit {
  readonly of?: string;
  readonly unit: string;
  readonly moreIsBetter: boolean;
}

/** How a figure is called in output: what of, and its unit. */
export function labelFigure(name: FigureName): string {
  const { of = "", unit }: FigureUnit = figureUnits[name];
  return of === "" ? unit : `${of} ${unit}`;
}

/** A figure's name. */
export type FigureName = keyof typeof figureUnits;

/** What is measured once in each round. */
export interface Measurement {
  readonly name: string;
  run(): Promise<Figures>;
}

/** Measurements that are prepared together and run in turn. */
export interface Group {
  readonly name: string;
  /** Whether it is measured only with `--full`, or where it is asked for by name. */
  readonly fullOnly?: boolean;
  /** Whether its measurements are run once, without a round that does not count, as they take long. */
  readonly once?: boolean;
  /** The names of its measurements, in the order of a round. */
  readonly measurements: readonly string[];
  /** What is missing, if something is that it needs; files are made in `directory`. */
  findMissing?(settings: BenchSettings, directory: string): string | undefined;
  /** Prepares those of them that are in `context.wanted`. */
  prepare(context: BenchContext): Promise<Measurement[]>;
}

/** What all measurements have in common. Sizes are in bytes. */
export interface BenchSettings {
  readonly rounds: number;
  /** How long a measurement loads what it measures, about. */
  readonly seconds: number;
  /** What is stored to be replayed. */
  readonly storedBytes: number;
  /** The bytes of a raw page write: a largest commit. */
  readonly commitBytes: number;
  /** The bytes of a raw ranged read, and how many are under way: as the vault reads ahead. */
  readonly readBytes: number;
  readonly readsInFlight: number;
  /** The vault's default. */
  readonly tailCacheBytes: number;
  readonly segmentBytesAzurite: number;
  /** How long the long stream is. */
  readonly scaleRecords: number;
}

/** Points of x and y by the name of what they belong to. */
export type SeriesTable = Readonly<Record<string, readonly (readonly [x: number, y: number])[]>>;

/** What a group runs on. */
export interface BenchContext {
  readonly settings: BenchSettings;
  /** The names of the measurements that are to be run. */
  readonly wanted: ReadonlySet<string>;
  /** An empty directory. */
  readonly directory: string;
  /** Where vaults leave profiles of their processor time. */
  readonly profile: string | undefined;
  /** Closes what is added to it when the group ends. */
  readonly stack: AsyncDisposableStack;
  /** Shows what is going on. */
  say(text: string): void;
  /** Keeps a remark for the end. */
  note(text: string): void;
  /** Keeps how something went along a long measurement, for a picture. */
  keepSeries(name: string, points: SeriesTable[string]): void;
}

/** The processor seconds that a process used while `run` ran, besides what `run` gave; undefined where nobody tells. */
export async function withCpu<T>(pid: number, run: () => Promise<T>): Promise<[T, cpuSeconds: number | undefined]> {
  const before = readCpuSeconds(pid);
  const result = await run();
  const after = readCpuSeconds(pid);
  return [result, before === undefined || after === undefined ? undefined : after - before];
}

/** The measurements that are wanted. */
export function pickWanted(context: BenchContext, measurements: readonly Measurement[]): Measurement[] {
  return measurements.filter(({ name }) => context.wanted.has(name));
}
