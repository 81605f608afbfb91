import type { Bar } from "./bars.ts";
import type { Group } from "./measurement.ts";

/** A group, and which of its measurements are to be run. */
export interface Selected {
  readonly group: Group;
  readonly wanted: ReadonlySet<string>;
}

/**
 * What to measure: with `only` the groups, measurements and bars of these names (a bar brings its limits), else every
 * group, those that take long where `full` is set. Throws where a name is unknown.
 */
export function selectGroups(
  groups: readonly Group[],
  bars: readonly Bar[],
  only: readonly string[],
  full: boolean,
): Selected[] {
  const everything = groups.filter(({ fullOnly = false }) => full || !fullOnly);
  if (only.length === 0) return everything.map((group) => ({ group, wanted: new Set(group.measurements) }));
  const wanted = new Set(only.flatMap((name) => namesFor(name, groups, bars)));
  return groups
    .map((group) => ({ group, wanted: new Set(group.measurements.filter((name) => wanted.has(name))) }))
    .filter((selected) => selected.wanted.size > 0);
}

function namesFor(name: string, groups: readonly Group[], bars: readonly Bar[]): readonly string[] {
  const group = groups.find((group) => group.name === name);
  if (group !== undefined) return group.measurements;
  const bar = bars.find((bar) => bar.name === name);
  if (bar !== undefined) return [bar.measured, ...bar.limits];
  if (groups.some(({ measurements }) => measurements.includes(name))) return [name];
  const known = [...new Set([...bars, ...groups].map(({ name }) => name))];
  throw new Error(`--only: nothing is called '${name}'; there are ${known.join(", ")}, and each measurement's name`);
}
