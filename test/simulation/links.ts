/**
 * The network between machines: each direction of each pair can be cut for itself. What is sent over a cut link waits,
 * as TCP would send it again; a connection whose other side is silent for long breaks.
 */
import type { Host } from "./host.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

/** Which side of a connection. */
export type Side = "caller" | "server";

/** A connection between two processes. In each direction what is sent arrives in order. */
export interface Connection {
  readonly broken: boolean;
  /** Lets `run` happen at the other side, unless the connection breaks before. */
  send(from: Side, run: () => void): void;
  /** Calls `run` at that side when the connection breaks. Returns a function that takes that back. */
  onBreak(side: Side, run: () => void): () => void;
  /** Breaks it: both sides learn of it. */
  break(why: string): void;
}

/** All connections, and what is cut. */
export interface Links {
  /** Cuts or mends one direction between two machines. */
  set(from: string, to: string, cut: boolean): void;
  isCut(from: string, to: string): boolean;
  connect(caller: Host, server: Host): Connection;
  /** How long a message takes now, in milliseconds. */
  latencyMs(): number;
  /** Breaks connections whose other side says nothing, as keepalive does: to be called when a process freezes. */
  frozen(host: Host): void;
  /** Multiplies all latencies. */
  slowness: number;
}

/** The machine that a process runs on: its name up to the dot. */
export function machineOf(host: Host): string {
  const end = host.name.indexOf(".");
  return end < 0 ? host.name : host.name.slice(0, end);
}

/** Makes a network without cuts. */
export function createLinks(scheduler: Scheduler, random: () => number, trace: Trace): Links {
  const cuts = new Set<string>();
  const connections = new Set<LinkedConnection>();

  const keepaliveMs = () => 3000 + 12_000 * random();
  const key = (from: string, to: string) => `${from}>${to}`;
  const links: Links = {
    slowness: 1,
    latencyMs: () => (0.2 + random() + 20 * random() ** 16) * links.slowness,
    isCut: (from, to) => cuts.size > 0 && cuts.has(key(from, to)),
    set(from, to, cut) {
      trace.note("network", `${cut ? "cut" : "mended"} ${from} > ${to}`);
      if (cut) cuts.add(key(from, to));
      else cuts.delete(key(from, to));
      for (const connection of connections) if (connection.joins(from, to)) connection.changed(cut);
    },
    connect(caller, server) {
      const connection = createConnection(links, scheduler, caller, server, keepaliveMs, () => {
        connections.delete(connection);
        trace.note("network", `broke ${caller.name} - ${server.name}`);
      });
      connections.add(connection);
      trace.note("network", `connected ${caller.name} - ${server.name}`);
      return connection;
    },
    frozen(host) {
      for (const connection of connections) if (connection.has(host)) connection.changed(true);
    },
  };
  return links;
}

interface LinkedConnection extends Connection {
  joins(from: string, to: string): boolean;
  has(host: Host): boolean;
  /** A cut or a freeze began, or a cut was mended. */
  changed(worse: boolean): void;
}

function createConnection(
  links: Links,
  scheduler: Scheduler,
  caller: Host,
  server: Host,
  keepaliveMs: () => number,
  onEnd: () => void,
): LinkedConnection {
  const hosts = { caller, server };
  const machines = { caller: machineOf(caller), server: machineOf(server) };
  const arrivals = { caller: 0, server: 0 };
  const waiting: Record<Side, (() => void)[]> = { caller: [], server: [] };
  const listeners = { caller: new Set<() => void>(), server: new Set<() => void>() };
  let broken = false;

  const other = (side: Side): Side => (side === "caller" ? "server" : "caller");
  const isCutFrom = (from: Side) => links.isCut(machines[from], machines[other(from)]);
  const isSilent = () =>
    isCutFrom("caller") || isCutFrom("server") || [caller, server].some((host) => host.frozen || !host.alive);

  const carry = (from: Side, run: () => void) => {
    const at = Math.max(arrivals[from], scheduler.now + links.latencyMs());
    arrivals[from] = at;
    scheduler.after(at - scheduler.now, () => {
      if (broken) return;
      if (isCutFrom(from)) waiting[from].push(run);
      else deliver(from, run);
    });
  };

  const deliver = (from: Side, run: () => void) => hosts[other(from)].deliver(() => void (broken || run()));

  const breakNow = () => {
    if (broken) return;
    broken = true;
    onEnd();
    for (const side of ["caller", "server"] as const) {
      const runs = [...listeners[side]];
      listeners[side].clear();
      scheduler.after(links.latencyMs(), () => {
        for (const run of runs) hosts[side].deliver(run);
      });
    }
  };

  /** Without a sign of the other side for long, keepalive breaks it. */
  const breakIfSilent = () => {
    scheduler.after(keepaliveMs(), () => {
      if (isSilent()) breakNow();
    });
  };

  for (const side of ["caller", "server"] as const) {
    hosts[side].onCrash(() => {
      // The machine goes on, and says at once that nobody is there; unless that cannot get through.
      if (isCutFrom(side)) breakIfSilent();
      else scheduler.after(links.latencyMs(), breakNow);
    });
  }

  return {
    get broken() {
      return broken;
    },
    send: (from, run) => void (broken || carry(from, run)),
    onBreak(side, run) {
      if (broken) scheduler.after(0, () => hosts[side].deliver(run));
      else listeners[side].add(run);
      return () => void listeners[side].delete(run);
    },
    break: breakNow,
    joins: (from, to) => {
      const { caller: a, server: b } = machines;
      return (a === from && b === to) || (a === to && b === from);
    },
    has: (host) => host === caller || host === server,
    changed(worse) {
      if (worse) {
        breakIfSilent();
        return;
      }
      for (const side of ["caller", "server"] as const) {
        if (isCutFrom(side)) continue;
        // At once: what was sent behind them may be on its way already.
        for (const run of waiting[side].splice(0)) deliver(side, run);
      }
    },
  };
}
