/** What a node tells of its part in the election. */
import type { Telemetry } from "../telemetry.ts";
import type { Control } from "./control.ts";
import type { FailoverCause, Leader } from "./leader.ts";
import type { Lease } from "./lease.ts";
import type { Standing } from "./stand.ts";

/** How the election stands, as the node sees it. */
export interface Outline {
  readonly leader: Leader | undefined;
  /** This node's lease, while it leads. */
  readonly lease: Lease | undefined;
}

/** Tells of an election. */
export interface ElectionMeters {
  /** Runs what it takes to lead, in the place of a leader that is to be replaced for `cause`. */
  takeOver(cause: FailoverCause, run: () => Promise<Standing | undefined>): Promise<Standing | undefined>;
  /** The lease of the leader of `epoch` was broken. */
  broke(epoch: number): void;
  /** Runs what gives the lease of `epoch` back. */
  handBack(epoch: number, run: () => Promise<void>): Promise<void>;
  /** This node leads, by this claim. */
  won(control: Control): void;
  /** Its leadership ended against its will. */
  lost(): void;
  /** Ends telling. */
  close(): void;
}

/** Makes what tells of an election. `leaseSeconds`: the lease's length. */
export function createElectionMeters(telemetry: Telemetry, leaseSeconds: number, look: () => Outline): ElectionMeters {
  const fencesLost = telemetry.counter("messagevault.fences.lost");
  const ends = [
    telemetry.observe("messagevault.leader.leads", (report) => report(look().lease === undefined ? 0 : 1)),
    telemetry.observe("messagevault.leader.known", (report) => report(look().leader === undefined ? 0 : 1)),
    telemetry.observe("messagevault.leader.epoch", (report) => report(look().leader?.epoch ?? 0)),
    telemetry.observe("messagevault.lease.renewal.age", (report) => {
      const { lease } = look();
      if (lease !== undefined) report(leaseSeconds - lease.remainingMs() / 1000);
    }),
  ];
  return {
    async takeOver(cause, run) {
      const attributes = { "messagevault.failover.cause": cause };
      const span = telemetry.startSpan("lead", { parent: null, attributes });
      try {
        const standing = await telemetry.within(span, run);
        if (standing !== undefined) span?.set({ "messagevault.epoch": standing.control.epoch });
        span?.end(standing === undefined ? "conflict" : undefined);
        return standing;
      } catch (error) {
        span?.end(error);
        throw error;
      }
    },
    broke: (epoch) => telemetry.active?.event("lease broken", { "messagevault.epoch": epoch }),
    async handBack(epoch, run) {
      const span = telemetry.startSpan("resign", { parent: null, attributes: { "messagevault.epoch": epoch } });
      await telemetry.within(span, run);
      span?.end();
    },
    won({ failover: { cause, gapMs } }) {
      const values = { "messagevault.failover.cause": cause };
      telemetry.counter("messagevault.failovers", values).add(1);
      if (gapMs !== undefined) telemetry.histogram("messagevault.failover.gap", values).record(gapMs / 1000);
    },
    lost: () => fencesLost.add(1),
    close() {
      for (const end of ends) end();
    },
  };
}
