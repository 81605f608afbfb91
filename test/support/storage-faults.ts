import { VaultError } from "../../src/errors.ts";
import type { Fault, FaultyStore, StoreCall } from "./create-faulty-store.ts";

/** The call is carried out, its answer is lost. */
export const loseAnswer: Fault = async (forward) => {
  await forward();
  throw new VaultError("indeterminate", "the answer was lost");
};

/** The call never arrives, and nobody can know. */
export const loseRequest: Fault = async () => {
  throw new VaultError("indeterminate", "the request was lost");
};

/** Storage throttles. */
export const throttle: Fault = async () => {
  throw new VaultError("overloaded", "503: the server is busy");
};

/** The call was not carried out. */
export const refuse: Fault = async () => {
  throw new VaultError("unavailable", "no connection");
};

/** Storage is as it should be. */
export const succeed: Fault = (forward) => forward();

/** Lets the calls fail as listed, one after another, and succeed from then on. */
export function script(faulty: FaultyStore, call: StoreCall, faults: readonly Fault[]): void {
  const left = [...faults];
  faulty.set(call, (forward, args) => (left.shift() ?? succeed)(forward, args));
}

/** A call that its caller gives up and that arrives later. */
export interface LateCall {
  readonly fault: Fault;
  /** Lets it arrive; resolves to what storage says. */
  arrive(): Promise<unknown>;
}

/** A call that seems lost, until the test lets it arrive. */
export function createLateCall(): LateCall {
  let late: (() => Promise<unknown>) | undefined;
  return {
    async fault(forward) {
      late = forward;
      throw new VaultError("indeterminate", "the request timed out");
    },
    arrive: () => (late === undefined ? Promise.reject(new Error("the call was not made")) : late()),
  };
}

/** A call that waits until the test lets it go on. */
export interface HeldCall {
  readonly fault: Fault;
  /** Whether it was made. */
  readonly waiting: boolean;
  release(): void;
}

/** Holds the call back; once released, this and all later ones pass. */
export function createHeldCall(): HeldCall {
  const gate = Promise.withResolvers<void>();
  let waiting = false;
  return {
    async fault(forward) {
      waiting = true;
      await gate.promise;
      return forward();
    },
    get waiting() {
      return waiting;
    },
    release: () => gate.resolve(),
  };
}

const calls: readonly StoreCall[] = [
  "createPages",
  "writePages",
  "clearPages",
  "raiseFence",
  "read",
  "put",
  "get",
  "properties",
  "remove",
  "list",
  "listFolders",
];

/** Lets `choose` pick what happens to each call of the store, by its number from 0 on. */
export function chooseFaults(faulty: FaultyStore, choose: (number: number, call: StoreCall) => Fault): void {
  let number = 0;
  for (const call of calls) faulty.set(call, (forward, args) => choose(number++, call)(forward, args));
}

/** Ends all faults. */
export function endFaults(faulty: FaultyStore): void {
  for (const call of calls) faulty.set(call, undefined);
}
