import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import { Notifier } from "../stream/notifier.ts";
import type { Member } from "./cluster-view.ts";

/** The most nodes that may watch a leader. */
export const watchersMax = 100;

/** The nodes that watch this one, in the order in which they came. A node that comes again keeps its place. */
export interface Members {
  readonly list: readonly Member[];
  /** Wakes when `list` is another one. */
  readonly changed: Notifier;
  /** Adds a node. Resolves to what takes it away again. Throws `overloaded` where there are `watchersMax`. */
  add(member: Member): () => void;
}

/** Makes an empty list. */
export function createMembers(clock: Clock): Members {
  const changed = new Notifier(clock);
  const present = new Map<string, { member: Member; calls: number }>();
  let list: readonly Member[] = [];
  const update = () => {
    list = [...present.values()].map(({ member }) => member);
    changed.notify();
  };
  return {
    get list() {
      return list;
    },
    changed,
    add(member) {
      const known = present.get(member.id);
      if (known === undefined && present.size >= watchersMax) {
        throw new VaultError("overloaded", `${watchersMax} nodes watch this one already`);
      }
      const entry = { member, calls: (known?.calls ?? 0) + 1 };
      present.set(member.id, entry);
      update();
      return () => {
        const now = present.get(member.id);
        if (now === undefined) return;
        now.calls--;
        if (now.calls === 0) present.delete(member.id);
        update();
      };
    },
  };
}
