import { mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import type { Samples } from "./bars.ts";
import { isInMemory } from "./machine.ts";
import type {
  BenchContext,
  BenchSettings,
  FigureName,
  Figures,
  Group,
  Measurement,
  SeriesTable,
} from "./measurement.ts";
import { labelFigure } from "./measurement.ts";
import { roundTo } from "./statistics.ts";
import type { Selected } from "./selection.ts";

/** Where and how to measure. */
export interface RunOptions {
  /** Where files are made, in a directory of their own. */
  readonly directory: string;
  readonly profile: string | undefined;
  readonly settings: BenchSettings;
}

/** What the rounds measured. */
export interface RunResult {
  readonly samples: Samples;
  readonly series: SeriesTable;
  readonly notes: readonly string[];
}

/**
 * Measures one group after the other: in each everything once in each round, after a round that does not count. Throws
 * before anything is measured where a group lacks what it needs.
 */
export async function runGroups(
  selected: readonly Selected[],
  { directory: parent, profile, settings }: RunOptions,
  say: (text: string) => void,
): Promise<RunResult> {
  const missing = selected.flatMap(({ group }) => group.findMissing?.(settings, parent) ?? []);
  if (missing.length > 0) throw new Error(missing.join("\n"));
  const notes = new Set<string>();
  if (isInMemory(parent)) notes.add(`${parent} is in memory: choose a disk with --directory`);
  const samples = new Map<string, Figures[]>();
  const series: Record<string, SeriesTable[string]> = {};
  for (const { group, wanted } of selected) {
    const startedAt = performance.now();
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(path.join(parent, "message-vault-bench-"));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    await mkdir(directory, { recursive: true });
    const context: BenchContext = {
      settings,
      wanted,
      directory,
      profile,
      stack,
      say,
      note: (text) => notes.add(text),
      keepSeries: (name, points) => {
        series[name] = points;
      },
    };
    const taken = await runRounds(group, context, await group.prepare(context));
    for (const [name, figures] of taken) samples.set(name, figures);
    say(`${group.name}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  }
  return { samples, series, notes: [...notes] };
}

async function runRounds(
  { once = false }: Group,
  { settings, say }: BenchContext,
  measurements: readonly Measurement[],
): Promise<Map<string, Figures[]>> {
  const rounds = once ? 1 : settings.rounds;
  const samples = new Map(measurements.map(({ name }) => [name, [] as Figures[]]));
  for (let round = once ? 1 : 0; round <= rounds; round++) {
    const title = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
    for (const { name, run } of measurements) {
      const figures = await run();
      say(`${title}: ${name} ${showFigures(figures)}`);
      if (round > 0) samples.get(name)?.push(figures);
    }
  }
  return samples;
}

function showFigures(figures: Figures): string {
  const entries = Object.entries(figures) as [FigureName, number][];
  return entries.map(([name, value]) => `${roundTo(value, 3)} ${labelFigure(name)}`).join(", ");
}
