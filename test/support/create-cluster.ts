import type { ExecutionContext } from "ava";

import type { BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import { startElection } from "../../src/leader/election.ts";
import type { Election, ElectionOptions } from "../../src/leader/election.ts";
import type { ProbeResult } from "../../src/leader/probe.ts";
import { silentLog } from "../../src/log.ts";
import { createClock } from "./create-clock.ts";
import type { ManualClock } from "./create-clock.ts";
import { createFaultyStore } from "./create-faulty-store.ts";
import type { FaultyStore } from "./create-faulty-store.ts";

/** Elections on one store in memory and one manual clock. */
export interface Cluster {
  readonly clock: ManualClock;
  readonly store: BlobStore;
  /** What a probe of an endpoint says: `alive` where nothing is set. */
  readonly probes: Map<string, ProbeResult>;
  /** Starts a node called `name`, which is its endpoint's host too. */
  start(name: string, options?: Partial<ElectionOptions>): Promise<ClusterNode>;
}

/** One node's election, and the faults on its way to storage. */
export interface ClusterNode {
  readonly election: Election;
  readonly faults: FaultyStore;
}

/** The settings that elections have in tests: the defaults. */
export const electionSettings = { leaseSeconds: 15, renewMs: 5000, pollMs: 5000, clockSkewMsMax: 5000 };

/** Makes a cluster without nodes; what was started is closed at the end of the test. */
export function createCluster(t: ExecutionContext, seed = 1): Cluster {
  const clock = createClock({ seed });
  const store = createMemoryStore(clock);
  const probes = new Map<string, ProbeResult>();
  return {
    clock,
    store,
    probes,
    async start(name, options = {}) {
      const faults = createFaultyStore(store);
      const election = await startElection({
        store: faults.store,
        clock,
        log: silentLog,
        nodeId: name,
        endpoint: `${name}:50051`,
        settings: electionSettings,
        probe: async (endpoint) => probes.get(endpoint) ?? "alive",
        ...options,
      });
      t.teardown(() => election.close());
      return { election, faults };
    },
  };
}
