import { readCpuSeconds } from "./machine.ts";
import type { Sample } from "./statistics.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** What is measured once in each round. */
export interface Measurement {
  readonly name: MeasurementName;
  run(): Promise<Sample>;
}

/** Everything that is measured. */
export type MeasurementName =
  | "swallow"
  | "raw_page_writes_file"
  | "publish_file"
  | "blast"
  | "raw_reads_file"
  | "replay_file_cold"
  | "replay_file_page_cache"
  | "replay_file_warm"
  | "raw_put_page_azurite"
  | "publish_azurite"
  | "raw_reads_azurite"
  | "replay_azurite";

/** What the measurements have in common. Sizes are in bytes. */
export interface BenchSettings {
  readonly rounds: number;
  readonly fileBytes: number;
  readonly azuriteBytes: number;
  /** Records in a publish request, and the value of each. */
  readonly batch: number;
  readonly recordBytes: number;
  readonly producers: number;
  /** Requests that a producer has unanswered. */
  readonly window: number;
  /** The bytes of a raw page write: a largest commit. */
  readonly commitBytes: number;
  /** The bytes of a raw ranged read, and how many are under way: as the vault reads ahead. */
  readonly readBytes: number;
  readonly readsInFlight: number;
  /** The vault's default. */
  readonly tailCacheBytes: number;
  readonly segmentBytesAzurite: number;
}

/** What the measurements run on. */
export interface BenchContext {
  readonly settings: BenchSettings;
  /** An empty directory. */
  readonly directory: string;
  readonly profile: string | undefined;
  readonly producer: WorkerProcess;
  readonly consumer: WorkerProcess;
  /** Closes what is added to it when the bench ends. */
  readonly stack: AsyncDisposableStack;
  /** Shows what is going on. */
  say(text: string): void;
  /** Keeps a remark for the end. */
  note(text: string): void;
}

/** Adds the processor time that a process used during a measurement. */
export async function withCpu(pid: number, run: () => Promise<Sample>): Promise<Sample> {
  const before = readCpuSeconds(pid);
  const sample = await run();
  const after = readCpuSeconds(pid);
  const cpuSeconds = before === undefined || after === undefined ? undefined : after - before;
  return { bytes: sample.bytes, seconds: sample.seconds, cpuSeconds };
}

/** What a request of `records` records takes, about: tags and lengths come on top of the values. */
export function requestBytes(settings: BenchSettings): number {
  return settings.batch * (settings.recordBytes + 6);
}

/** How many requests carry `bytes`. */
export function requestCount(settings: BenchSettings, bytes: number): number {
  return Math.ceil(bytes / requestBytes(settings));
}
