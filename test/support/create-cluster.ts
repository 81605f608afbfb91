import type { ExecutionContext } from "ava";

import type { BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore } from "../../src/blob/memory.ts";
import type { Clock } from "../../src/clock.ts";
import { VaultError } from "../../src/errors.ts";
import { startElection } from "../../src/leader/election.ts";
import type { Election, ElectionOptions } from "../../src/leader/election.ts";
import { silentLog } from "../../src/log.ts";
import { createClock } from "./create-clock.ts";
import { drive } from "./drive.ts";
import type { ManualClock } from "./create-clock.ts";
import { createFaultyStore } from "./create-faulty-store.ts";
import type { FaultyStore, StoreCall } from "./create-faulty-store.ts";
import { createNetwork } from "./create-network.ts";
import type { Network } from "./create-network.ts";

/** Elections on one store in memory and one manual clock. */
export interface Cluster {
  readonly clock: ManualClock;
  readonly store: BlobStore;
  /** The links by which nodes watch each other. */
  readonly network: Network;
  /** Starts a node called `name`, which is its endpoint's host too. */
  start(name: string, options?: Partial<ClusterOptions>): Promise<ClusterNode>;
}

/** How a node differs from others. */
export interface ClusterOptions extends ElectionOptions {
  /** How long it lets a leader be silent before it suspects it, in milliseconds. */
  readonly suspicionMs: number;
}

/** One node's election, and the faults on its way to storage. */
export interface ClusterNode {
  readonly election: Election;
  readonly faults: FaultyStore;
  /** The process is killed: it sends nothing any more, and connections to it are refused. */
  kill(): void;
  /** The process ends in order. */
  close(): void;
  /** The process stands still: its timers do not fire and answers to it wait, while time goes on. */
  freeze(): void;
  /** The process goes on: everything that fell due meanwhile runs now. */
  thaw(): void;
}

/** The calls that an election makes. */
export const controlCalls: readonly StoreCall[] = [
  "properties",
  "createControl",
  "setMetadata",
  "acquireLease",
  "renewLease",
  "releaseLease",
  "breakLease",
];

/** A fault: storage cannot be reached. */
export const unreachable = () => Promise.reject(new VaultError("unavailable", "storage is out of reach"));

/** The settings that elections have in tests: the defaults. */
export const electionSettings = { leaseSeconds: 15, renewMs: 5000, pollMs: 5000, clockSkewMsMax: 5000 };

/** Makes a cluster without nodes; what was started is closed at the end of the test. */
export function createCluster(t: ExecutionContext, seed = 1): Cluster {
  const clock = createClock({ seed });
  const store = createMemoryStore(clock);
  const network = createNetwork();
  return {
    clock,
    store,
    network,
    async start(name, options = {}) {
      const process = createProcess(options.clock ?? clock);
      const faults = createFaultyStore(process.hold(options.store ?? store));
      const { nodeId = name, endpoint = `${name}:50051`, suspicionMs = 3000 } = options;
      const { frozen, clock: own } = process;
      const member = network.join({ name, nodeId, endpoint, clock: own, suspicionMs, frozen });
      const settings = electionSettings;
      const { watch } = member;
      const election = await startElection({
        log: silentLog,
        nodeId,
        endpoint,
        settings,
        watch,
        ...options,
        clock: own,
        store: faults.store,
      });
      member.bind(election);
      const stop = async () => {
        process.thaw();
        member.leave();
        await election.close();
      };
      // What is on its way to storage as the test ends has to arrive.
      t.teardown(() => drive(clock, stop()));
      return {
        election,
        faults,
        freeze: process.freeze,
        thaw: process.thaw,
        close: () => void stop(),
        kill() {
          for (const call of controlCalls) faults.set(call, unreachable);
          void stop();
        },
      };
    },
  };
}

/** Time and storage as one process sees them that can stand still. */
function createProcess(clock: Clock) {
  let thawing: PromiseWithResolvers<void> | undefined;
  const held: (() => void)[] = [];

  const hold = <T extends object>(inner: T): T =>
    new Proxy(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          try {
            return await value.apply(target, args);
          } finally {
            await thawing?.promise;
          }
        };
      },
    });

  const own: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    turn: () => clock.turn(),
    random: () => clock.random(),
    id: () => clock.id(),
    timer(delayMs, run) {
      let cancelled = false;
      const timer = clock.timer(delayMs, () => {
        if (thawing === undefined) run();
        else held.push(() => cancelled || run());
      });
      return {
        cancel() {
          cancelled = true;
          timer.cancel();
        },
      };
    },
  };

  return {
    clock: own,
    hold,
    frozen: () => thawing !== undefined,
    freeze() {
      thawing ??= Promise.withResolvers();
    },
    thaw() {
      const { resolve } = thawing ?? {};
      thawing = undefined;
      resolve?.();
      for (const run of held.splice(0)) run();
    },
  };
}
