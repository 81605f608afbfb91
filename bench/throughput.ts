import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { defaultConfig } from "../src/config.ts";
import { prepareAzuriteMeasurements } from "./azurite-measurements.ts";
import { prepareFileMeasurements } from "./file-measurements.ts";
import { isInMemory } from "./machine.ts";
import type { BenchContext, BenchSettings, Measurement, MeasurementName } from "./measurement.ts";
import type { BenchOptions } from "./options.ts";
import { megabytesPerSecond } from "./statistics.ts";
import type { Sample } from "./statistics.ts";
import { startWorker } from "./worker-process.ts";

/** What the rounds measured. */
export interface ThroughputResult {
  readonly settings: BenchSettings;
  /** The samples of each measurement, in the order of the rounds. */
  readonly samples: ReadonlyMap<MeasurementName, readonly Sample[]>;
  readonly notes: readonly string[];
}

/** Measures publish and replay beside their limits, everything once in each round, after a round that does not count. */
export async function measureThroughput(options: BenchOptions, say: (text: string) => void): Promise<ThroughputResult> {
  await using stack = new AsyncDisposableStack();
  const settings = chooseSettings(options);
  const notes = new Set<string>();
  const directory = await mkdtemp(path.join(options.directory, "message-vault-bench-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  if (isInMemory(directory)) notes.add(`${options.directory} is in memory: choose a disk with --directory`);
  const context: BenchContext = {
    settings,
    directory,
    profile: options.profile,
    producer: stack.use(startWorker("producer")),
    consumer: stack.use(startWorker("consumer")),
    stack,
    say,
    note: (text) => notes.add(text),
  };
  const measurements: Measurement[] = [];
  if (options.only !== "azurite") measurements.push(...(await prepareFileMeasurements(context)));
  if (options.only !== "file") measurements.push(...(await prepareAzuriteMeasurements(context)));
  const samples = await runRounds(measurements, settings.rounds, say);
  return { settings, samples, notes: [...notes] };
}

function chooseSettings(options: BenchOptions): BenchSettings {
  const { commitBytesMax, readBytes, readAheadBytes, tailCacheBytes } = defaultConfig;
  return {
    rounds: options.rounds,
    fileBytes: options.bytes,
    azuriteBytes: Math.ceil(options.bytes / 4),
    batch: 1000,
    recordBytes: 250,
    producers: 4,
    window: 8,
    commitBytes: commitBytesMax,
    readBytes,
    readsInFlight: 1 + Math.ceil(readAheadBytes / readBytes),
    tailCacheBytes,
    segmentBytesAzurite: 64 * 1024 * 1024,
  };
}

async function runRounds(
  measurements: readonly Measurement[],
  rounds: number,
  say: (text: string) => void,
): Promise<Map<MeasurementName, Sample[]>> {
  const samples = new Map(measurements.map(({ name }) => [name, [] as Sample[]]));
  for (let round = 0; round <= rounds; round++) {
    const title = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
    for (const { name, run } of measurements) {
      const sample = await run();
      say(`${title}: ${name} ${megabytesPerSecond(sample).toFixed(0)} MB/s`);
      if (round > 0) samples.get(name)?.push(sample);
    }
  }
  return samples;
}
