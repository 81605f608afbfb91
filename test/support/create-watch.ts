import { createObservable } from "../../src/leader/observed.ts";
import type { Observable } from "../../src/leader/observed.ts";
import type { Leader } from "../../src/leader/leader.ts";
import type { Evidence, LeaderWatch } from "../../src/leader/watch.ts";

/** A watch whose evidence a test sets. */
export interface TestWatch extends LeaderWatch {
  readonly evidence: Observable<Evidence>;
  /** Whom the election has watched last. */
  readonly followed: Leader | undefined;
  heardAt: number | undefined;
}

/** Makes a watch that knows nothing; `onFollow` is called when the election has another leader watched. */
export function createWatch(onFollow: (leader: Leader | undefined) => void = () => undefined): TestWatch {
  const evidence = createObservable<Evidence>({ kind: "none" });
  let followed: Leader | undefined;
  return {
    evidence,
    heardAt: undefined,
    get followed() {
      return followed;
    },
    follow(leader) {
      if (leader?.nodeId === followed?.nodeId && leader?.epoch === followed?.epoch) return;
      followed = leader;
      this.heardAt = undefined;
      if (evidence.value.kind !== "none") evidence.set({ kind: "none" });
      onFollow(leader);
    },
  };
}
