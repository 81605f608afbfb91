import { connect } from "node:net";

import type { Clock } from "../clock.ts";

/**
 * What a look at another node's address says: it takes connections, its host refused or reset one (so that no process
 * listens there any more), or nothing is known.
 */
export type ProbeResult = "alive" | "refused" | "silent";

/** Looks whether a process listens at `endpoint` (host:port). Never rejects; an aborted look is `silent`. */
export type Probe = (endpoint: string, signal: AbortSignal) => Promise<ProbeResult>;

/** A probe that opens a TCP connection, waits at most `timeoutMs` for it, and closes it at once. */
export function createTcpProbe(clock: Clock, timeoutMs: number): Probe {
  return (endpoint, signal) => {
    const address = parseEndpoint(endpoint);
    if (address === undefined || signal.aborted) return Promise.resolve("silent");
    return new Promise((resolve) => {
      const socket = connect(address);
      const finish = (result: ProbeResult) => {
        timer.cancel();
        signal.removeEventListener("abort", giveUp);
        socket.destroy();
        resolve(result);
      };
      const giveUp = () => finish("silent");
      const timer = clock.timer(timeoutMs, giveUp);
      signal.addEventListener("abort", giveUp, { once: true });
      socket.once("connect", () => finish("alive"));
      socket.on("error", (error: NodeJS.ErrnoException) => finish(isRefusal(error) ? "refused" : "silent"));
    });
  };
}

/** Splits host:port or [v6]:port; undefined where it is neither. */
export function parseEndpoint(endpoint: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(endpoint);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

function isRefusal(error: NodeJS.ErrnoException): boolean {
  // A name with several addresses gives one error with the errors of all: any that is no refusal leaves it open.
  if (error instanceof AggregateError) return error.errors.every(isRefusal);
  return error.code === "ECONNREFUSED" || error.code === "ECONNRESET";
}
