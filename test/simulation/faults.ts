/** What goes wrong in a run: a list that the seed makes, so that it can be shortened and run again. */
import type { StorageWeather } from "./storage-link.ts";

/** Which node: a machine's number, or whichever leads then. */
export type Target = number | "leader";

/** The rates of storage's weather that a fault can worsen. */
export type WeatherKind = Exclude<keyof StorageWeather, "outage" | "cut" | "slowness">;

interface Begin {
  /** When it begins, in milliseconds since the simulation began. */
  readonly at: number;
}

interface Lasting extends Begin {
  /** How long it lasts, in milliseconds. */
  readonly forMs: number;
}

/** One fault. */
export type Fault =
  /** The process is gone at once; another one starts on the machine behind it. */
  | ({ readonly kind: "crash"; readonly node: Target } & Lasting)
  /** All processes are gone at once. */
  | ({ readonly kind: "crash all" } & Lasting)
  /** The process is told to end; another one starts on the machine behind it. */
  | ({ readonly kind: "stop"; readonly node: Target } & Lasting)
  /** The process stands still, as by SIGSTOP. */
  | ({ readonly kind: "freeze"; readonly node: Target } & Lasting)
  /** Messages from the node, to it, or both, do not get to other nodes, nor clients' if `clients`. */
  | ({
      readonly kind: "cut";
      readonly node: Target;
      readonly way: "from" | "to" | "both";
      readonly clients: boolean;
    } & Lasting)
  /** The node does not reach storage, or storage's answers do not reach it. */
  | ({ readonly kind: "storage cut"; readonly node: Target; readonly way: "requests" | "answers" } & Lasting)
  /** Storage does something to some of the requests. */
  | ({ readonly kind: "weather"; readonly what: WeatherKind; readonly rate: number } & Lasting)
  /** Storage, or the network, is slower. */
  | ({ readonly kind: "slow"; readonly what: "storage" | "network"; readonly times: number } & Lasting)
  /** Storage answers nobody. */
  | ({ readonly kind: "outage" } & Lasting)
  /** A machine's wall clock jumps. */
  | ({ readonly kind: "jump"; readonly node: Target; readonly ms: number } & Begin)
  /** Leadership is handed over: to a node, or to any. */
  | ({ readonly kind: "transfer"; readonly to: number | undefined } & Begin);

const weathers: readonly WeatherKind[] = [
  "throttled",
  "failing",
  "lostAnswers",
  "doubled",
  "late",
  "torn",
  "mixedReads",
];

/** How long faults go on, in milliseconds. */
export const faultsMs = 60_000;

// Nothing goes wrong before this: a first leader is there by then.
const calmMs = 3000;

/** Makes the faults of a seed: always some weather, a leader that is lost, and a few more. */
export function planFaults(random: () => number, nodes: number): Fault[] {
  const faults: Fault[] = [weather(random), weather(random), weather(random), loseLeader(random)];
  const count = 3 + Math.floor(6 * random());
  for (let i = 0; i < count; i++) faults.push(anyFault(random, nodes));
  return faults.toSorted((a, b) => a.at - b.at);
}

/** A fault in words. */
export function describeFault(fault: Fault): string {
  const { kind, at, ...rest } = fault;
  return `${at} ms: ${kind} ${JSON.stringify(rest)}`;
}

function when(random: () => number): number {
  return Math.round(calmMs + (faultsMs - calmMs) * random());
}

function between(random: () => number, from: number, to: number): number {
  return Math.round(from + (to - from) * random() ** 2);
}

function target(random: () => number, nodes: number): Target {
  return random() < 0.6 ? "leader" : Math.floor(random() * nodes);
}

function weather(random: () => number): Fault {
  const what = weathers[Math.floor(random() * weathers.length)]!;
  const rate = what === "mixedReads" ? 0.5 : 0.03 + 0.3 * random() ** 2;
  const forMs = between(random, 10_000, 40_000);
  return { kind: "weather", at: Math.round(when(random) * 0.8), what, rate, forMs };
}

/** A leader that was there for long enough to be missed. */
function loseLeader(random: () => number): Fault {
  const at = Math.round(15_000 + 30_000 * random());
  const kind = random() < 0.7 ? "crash" : "stop";
  return { kind, at, node: "leader", forMs: between(random, 2000, 20_000) };
}

function anyFault(random: () => number, nodes: number): Fault {
  const at = when(random);
  const node = target(random, nodes);
  const dice = random();
  if (dice < 0.15) return weather(random);
  if (dice < 0.3) return { kind: "crash", at, node, forMs: between(random, 200, 20_000) };
  if (dice < 0.33) return { kind: "crash all", at, forMs: between(random, 200, 10_000) };
  if (dice < 0.42) return { kind: "stop", at, node, forMs: between(random, 200, 10_000) };
  if (dice < 0.57) return { kind: "freeze", at, node, forMs: between(random, 300, 40_000) };
  if (dice < 0.69) {
    const way = (["from", "to", "both"] as const)[Math.floor(3 * random())]!;
    return { kind: "cut", at, node, way, clients: random() < 0.3, forMs: between(random, 500, 30_000) };
  }
  if (dice < 0.78) {
    const way = random() < 0.5 ? "requests" : "answers";
    return { kind: "storage cut", at, node, way, forMs: between(random, 500, 30_000) };
  }
  if (dice < 0.84) {
    const what = random() < 0.5 ? "storage" : "network";
    return { kind: "slow", at, what, times: 2 + 100 * random() ** 2, forMs: between(random, 1000, 20_000) };
  }
  if (dice < 0.88) return { kind: "outage", at, forMs: between(random, 500, 25_000) };
  if (dice < 0.94) return { kind: "jump", at, node, ms: Math.round((random() - 0.5) * 20_000) };
  return { kind: "transfer", at, to: random() < 0.5 ? undefined : Math.floor(random() * nodes) };
}
