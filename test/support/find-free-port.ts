import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Scope } from "./create-scope.ts";

const lowest = 5000;
const highest = Math.max(lowest + 5000, firstOutgoingPort());

/**
 * A TCP port for a process that must come back at it: nobody listens there now, the system gives it to no outgoing
 * connection, and no other caller gets it until `scope` ends, in this process or another.
 */
export async function findFreePort(scope: Scope): Promise<number> {
  for (;;) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest));
    const release = await reserve(port);
    if (release === undefined) continue;
    if (await isFree(port)) {
      scope.teardown(release);
      return port;
    }
    release();
  }
}

/** Where the system takes the ports of outgoing connections from: macOS and Windows begin at 49152, Linux tells. */
function firstOutgoingPort(): number {
  try {
    return Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8"));
  } catch {
    return 32_768;
  }
}

/** Takes the UDP port of that number, which serves as a lock between processes: a TCP port cannot be held for another. */
function reserve(port: number): Promise<(() => void) | undefined> {
  const socket = createSocket("udp4").unref();
  return new Promise((resolve) => {
    socket.once("error", () => resolve(undefined));
    socket.bind(port, "127.0.0.1", () => resolve(() => void socket.close()));
  });
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => resolve(true));
  });
  await new Promise((resolve) => void server.close(resolve));
  return free;
}
