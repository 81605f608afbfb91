import { azuriteGroup } from "./groups/azurite.ts";
import { fanOutGroup } from "./groups/fan-out.ts";
import { publishGroup } from "./groups/publish.ts";
import { replayGroup, replayMoreGroup } from "./groups/replay.ts";
import { tailGroup } from "./groups/tail.ts";
import type { Group } from "./measurement.ts";

/** Every group, in the order in which they are measured. */
export const groups: readonly Group[] = [
  publishGroup,
  replayGroup,
  tailGroup,
  fanOutGroup,
  azuriteGroup,
  replayMoreGroup,
];
