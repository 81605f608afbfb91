import { azureModelGroup, capacityGroup } from "./groups/azure-model.ts";
import { azuriteGroup } from "./groups/azurite.ts";
import { clientGroup } from "./groups/client.ts";
import { fanOutGroup } from "./groups/fan-out.ts";
import { gridGroup } from "./groups/publish-grid.ts";
import { publishGroup } from "./groups/publish.ts";
import { replayGroup, replayMoreGroup } from "./groups/replay.ts";
import { scaleGroup } from "./groups/scale.ts";
import { streamsGroup } from "./groups/streams.ts";
import { tailGroup } from "./groups/tail.ts";
import { telemetryGroup } from "./groups/telemetry.ts";
import type { Group } from "./measurement.ts";

/** Every group, in the order in which they are measured. */
export const groups: readonly Group[] = [
  publishGroup,
  replayGroup,
  clientGroup,
  tailGroup,
  fanOutGroup,
  azuriteGroup,
  azureModelGroup,
  capacityGroup,
  replayMoreGroup,
  gridGroup,
  streamsGroup,
  scaleGroup,
  telemetryGroup,
];
