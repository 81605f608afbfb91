import { HealthImplementation } from "grpc-health-check";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { LibraryService } from "./grpc-server.ts";

/** The health of this node, as grpc.health.v1.Health tells it to load balancers and probes. */
export interface Health extends LibraryService {
  /**
   * Whether reads are served: the health of the empty name and of `messagevault.v1.VaultService`. False at first.
   */
  setServing(serving: boolean): void;
  /** Whether a leader is known: the health of `messagevault.v1.VaultService/Publish`. False at first. */
  setPublishing(publishing: boolean): void;
}

/** The name under which health tells whether publishes can be served. */
export const publishHealthName = `${VaultService.typeName}/Publish`;

/** Makes the health service. */
export function createHealth(): Health {
  const statusOf = (healthy: boolean) => (healthy ? "SERVING" : "NOT_SERVING");
  const health = new HealthImplementation({
    "": statusOf(false),
    [VaultService.typeName]: statusOf(false),
    [publishHealthName]: statusOf(false),
  });
  return {
    addToServer: (server) => health.addToServer(server),
    setServing(serving) {
      health.setStatus("", statusOf(serving));
      health.setStatus(VaultService.typeName, statusOf(serving));
    },
    setPublishing: (publishing) => health.setStatus(publishHealthName, statusOf(publishing)),
  };
}
