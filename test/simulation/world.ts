/** The machines of a simulation, their processes, storage, and what is done to them. */
import type { Config } from "../../src/config.ts";
import type { MemoryStore } from "../../src/blob/memory.ts";
import { createRandom } from "../support/create-clock.ts";
import type { Fault, Target } from "./faults.ts";
import { type ClockFault, createHost, type Host, worldStart } from "./host.ts";
import { createLinks, type Links } from "./links.ts";
import { createNetwork, type Network } from "./network.ts";
import { type Equip, type NodeProcess, startNode } from "./node-process.ts";
import { createScheduler, type Scheduler } from "./scheduler.ts";
import type { VaultSource } from "./source.ts";
import { createStorageLink, fairWeather, type StorageWeather, type StorageWitness } from "./storage-link.ts";
import { createTrace, type Trace } from "./trace.ts";

/** The world of one run. */
export interface World {
  readonly source: VaultSource;
  readonly scheduler: Scheduler;
  readonly memory: MemoryStore;
  readonly links: Links;
  readonly network: Network;
  readonly weather: StorageWeather;
  readonly trace: Trace;
  /** The nodes' addresses, by machine. */
  readonly endpoints: readonly string[];
  /** The process on each machine; undefined where none runs. */
  readonly processes: (NodeProcess | undefined)[];
  /** How often each kind of fault happened. */
  readonly faultCounts: Map<string, number>;
  /** How many processes have led behind the first one. */
  readonly failovers: number;
  /** How many segments were begun behind another. */
  readonly rolls: number;
  /** A source of randomness of its own for each purpose, so that one does not disturb the other. */
  random(purpose: string): () => number;
  /** Starts a machine without a node: a client's. */
  clientHost(name: string): Host;
  /** Starts a node's process on a machine. */
  start(machine: number): void;
  /** Begins a fault. Whoever ends it is set up by it. */
  begin(fault: Fault): void;
  /** Ends all faults, and starts processes where none runs. */
  heal(): void;
  /** The machine whose node leads, by its own belief; undefined if none does. */
  leader(): number | undefined;
  violate(check: string, what: string): void;
}

/** What a world is made of. */
export interface WorldOptions {
  readonly source: VaultSource;
  readonly seed: number;
  readonly nodes: number;
  readonly config: Config;
  readonly traceKeptMax: number;
  /** See `ProcessOptions`. */
  readonly equip?: Equip | undefined;
  violate(check: string, what: string): void;
  /** Asks for a transfer of leadership, as an operator would: undefined for any node. */
  transfer(to: string | undefined): void;
}

/** Makes a world whose nodes do not run yet. */
export function createWorld(options: WorldOptions): World {
  const { source, seed, violate } = options;
  const scheduler = createScheduler();
  const trace = createTrace(scheduler, options.traceKeptMax);
  const random = (purpose: string) => createRandom(hashOf(`${seed} ${purpose}`));
  const memory = source.memory.createMemoryStore({
    now: () => worldStart + Math.floor(scheduler.now),
    monotonic: () => scheduler.now,
    timer: () => ({ cancel() {} }),
    turn: () => Promise.resolve(),
    random: () => 0,
    id: () => "",
  });
  const links = createLinks(scheduler, random("links"), trace);
  const network = createNetwork(source, links, violate);
  const weather = fairWeather();
  const witness = createWitness(violate);
  const endpoints = Array.from({ length: options.nodes }, (_, at) => `n${at}:50051`);
  const clocks = endpoints.map((_, at) => clockOf(random(`clock ${at}`)));
  const processes: World["processes"] = endpoints.map(() => undefined);
  const starts = endpoints.map(() => 0);

  const world: World = {
    source,
    scheduler,
    memory,
    links,
    network,
    weather,
    trace,
    endpoints,
    processes,
    faultCounts: witness.faults,
    get failovers() {
      return witness.failovers();
    },
    get rolls() {
      return witness.rolls();
    },
    random,
    clientHost: (name) => createHost(name, scheduler, random(`host ${name}`), { rate: 1, aheadMs: 0 }),
    start(machine) {
      if (processes[machine] !== undefined) return;
      const name = `n${machine}.${++starts[machine]!}`;
      const host = createHost(name, scheduler, random(`host ${name}`), clocks[machine]!);
      const store = createStorageLink({
        source,
        scheduler,
        host,
        memory,
        weather,
        random: random(`storage ${name}`),
        trace,
        requestTimeoutMs: options.config.storageTimeoutMs,
        leaseTimeoutMs: options.config.leaseTimeoutMs,
        witness,
      });
      trace.note(name, "starts");
      const endpoint = endpoints[machine]!;
      processes[machine] = startNode({
        source,
        host,
        endpoint,
        store,
        network,
        config: options.config,
        trace,
        equip: options.equip,
        violate,
      });
    },
    begin(fault) {
      trace.note("fault", JSON.stringify(fault));
      if (fault.kind !== "weather") witness.fault(fault.kind);
      beginFault(world, fault, options.transfer);
    },
    heal() {
      trace.note("fault", "all is mended");
      Object.assign(weather, { ...fairWeather(), cut: weather.cut });
      weather.cut.clear();
      links.slowness = 1;
      mendLinks(world);
      for (const process of processes) process?.host.thaw();
      for (const machine of endpoints.keys()) world.start(machine);
    },
    leader() {
      const at = processes.findIndex(
        (process) => process?.host.alive === true && process.node.leadership.role === "leader",
      );
      return at < 0 ? undefined : at;
    },
    violate,
  };
  return world;
}

/** Sees what storage carried out: an epoch has one owner. */
function createWitness(violate: WorldOptions["violate"]) {
  const faults = new Map<string, number>();
  const owners = new Map<number, string>();
  let rolls = 0;
  const witness: StorageWitness = {
    changed(host, call, blob, epoch) {
      const owner = owners.get(epoch);
      if (owner === undefined) owners.set(epoch, host.name);
      else if (owner !== host.name)
        violate("one owner", `epoch ${epoch} is ${owner}'s, and ${host.name} wrote under it`);
      if (call === "createPages" && !blob.endsWith("/00000000000000000000.segment")) rolls++;
    },
    fault: (kind) => void faults.set(kind, (faults.get(kind) ?? 0) + 1),
  };
  return {
    ...witness,
    faults,
    failovers: () => Math.max(0, new Set(owners.values()).size - 1),
    rolls: () => rolls,
  };
}

/** Machines' clocks are a little off, and some run at another speed: within what the vault allows. */
function clockOf(random: () => number): ClockFault {
  return { rate: 1 + (random() - 0.5) * 0.002, aheadMs: Math.round((random() - 0.5) * 3000) };
}

function resolve(world: World, target: Target): number {
  return target === "leader" ? (world.leader() ?? 0) : target % world.endpoints.length;
}

function beginFault(world: World, fault: Fault, transfer: WorldOptions["transfer"]): void {
  const { scheduler, weather, links, processes } = world;
  const later = (run: () => void) => void scheduler.after("forMs" in fault ? fault.forMs : 0, run);
  switch (fault.kind) {
    case "crash":
    case "crash all": {
      const machines = fault.kind === "crash" ? [resolve(world, fault.node)] : [...world.endpoints.keys()];
      for (const machine of machines) crash(world, machine);
      later(() => machines.forEach((machine) => world.start(machine)));
      return;
    }
    case "stop":
      stop(world, resolve(world, fault.node), fault.forMs);
      return;
    case "freeze": {
      const host = processes[resolve(world, fault.node)]?.host;
      if (host === undefined || host.frozen) return;
      host.freeze();
      links.frozen(host);
      later(() => host.thaw());
      return;
    }
    case "cut": {
      const machine = `n${resolve(world, fault.node)}`;
      const others = [...world.endpoints.keys()].map((at) => `n${at}`).filter((other) => other !== machine);
      if (fault.clients) others.push(...clientMachines);
      setCut(links, machine, others, fault.way, true);
      later(() => setCut(links, machine, others, fault.way, false));
      return;
    }
    case "storage cut": {
      const name = processes[resolve(world, fault.node)]?.host.name;
      if (name === undefined) return;
      weather.cut.set(name, fault.way);
      later(() => void weather.cut.delete(name));
      return;
    }
    case "weather":
      weather[fault.what] = fault.rate;
      later(() => void (weather[fault.what] = 0));
      return;
    case "slow": {
      const slowed = fault.what === "storage" ? weather : links;
      slowed.slowness = fault.times;
      later(() => void (slowed.slowness = 1));
      return;
    }
    case "outage":
      weather.outage = true;
      later(() => void (weather.outage = false));
      return;
    case "jump":
      processes[resolve(world, fault.node)]?.host.jump(fault.ms);
      return;
    case "transfer":
      transfer(fault.to === undefined ? undefined : world.endpoints[fault.to]);
      return;
  }
}

/** The machines that clients run on. */
export const clientMachines: readonly string[] = Array.from({ length: 16 }, (_, at) => `c${at}`);

function setCut(
  links: Links,
  machine: string,
  others: readonly string[],
  way: "from" | "to" | "both",
  cut: boolean,
): void {
  for (const other of others) {
    if (way !== "to") links.set(machine, other, cut);
    if (way !== "from") links.set(other, machine, cut);
  }
}

function mendLinks(world: World): void {
  const machines = [...world.endpoints.keys()].map((at) => `n${at}`);
  for (const machine of machines) {
    for (const other of [...machines, ...clientMachines]) {
      for (const [from, to] of [
        [machine, other],
        [other, machine],
      ] as const) {
        if (world.links.isCut(from, to)) world.links.set(from, to, false);
      }
    }
  }
}

function crash(world: World, machine: number): void {
  const process = world.processes[machine];
  if (process === undefined) return;
  world.trace.note(process.host.name, "is gone");
  process.host.crash();
  world.processes[machine] = undefined;
}

/** Ends a process in order; what hangs is ended by force, as an operator would. */
function stop(world: World, machine: number, downMs: number): void {
  const process = world.processes[machine];
  if (process === undefined || process.host.frozen) return;
  world.trace.note(process.host.name, "is told to stop");
  const gone = () => {
    if (world.processes[machine] !== process) return;
    crash(world, machine);
    world.scheduler.after(downMs, () => world.start(machine));
  };
  world.scheduler.after(40_000, gone);
  process.stop().then(gone, (error: unknown) => {
    world.violate("stop", `${process.host.name}: ${error instanceof Error ? error.stack : String(error)}`);
    gone();
  });
}

function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
