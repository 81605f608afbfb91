import type { Attributes } from "../telemetry.ts";

/** A text that is the same for the same attributes, in whatever order they stand. */
export function keyOf(values: Attributes): string {
  return JSON.stringify(Object.entries(values).toSorted(([one], [other]) => (one < other ? -1 : 1)));
}
