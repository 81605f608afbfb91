/** Ten thousand streams with a hundred records each: stored, started with, and read. */
import path from "node:path";
import { readResidentBytes } from "../machine.ts";
import type { Figures, Group } from "../measurement.ts";
import { startVault } from "../vault-process.ts";
import { startWorker } from "../worker-process.ts";
import type { ReadStreamsArgs } from "../workers/consumer.ts";
import type { StreamsArgs } from "../workers/producer.ts";

const streams = 10_000;
const batch = 100;
const recordBytes = 250;
const inFlight = 64;
const prefix = "stream-";

/** Each stream is made by its first publish, and read from its start to its tail. */
export const streamsGroup: Group = {
  name: "streams",
  fullOnly: true,
  once: true,
  measurements: ["streams_load", "streams_start", "streams_replay"],
  async prepare({ stack, directory }) {
    const storage = `file:${path.join(directory, "vault")}`;
    const producer = stack.use(startWorker("producer"));
    const consumer = stack.use(startWorker("consumer"));
    async function load(): Promise<Figures> {
      await using vault = await startVault({ storage });
      const args: StreamsArgs = { endpoint: vault.endpoint, prefix, streams, batch, recordBytes, inFlight };
      const { records, seconds } = await producer.call<{ records: number; seconds: number }>("publishStreams", args);
      const residentMib = residentMax(vault.pid);
      await vault.stop();
      return { recordsPerSecond: records / seconds, requestsPerSecond: streams / seconds, residentMib };
    }
    async function start(): Promise<Figures> {
      await using vault = await startVault({ storage });
      await vault.stop();
      return { startMs: vault.startMs };
    }
    async function replay(): Promise<Figures> {
      await using vault = await startVault({ storage });
      const args: ReadStreamsArgs = { endpoint: vault.endpoint, prefix, streams, inFlight };
      const { bytes, seconds } = await consumer.call<{ bytes: number; seconds: number }>("readStreams", args);
      const requestsPerSecond = streams / seconds;
      return { mbPerSecond: bytes / 1e6 / seconds, requestsPerSecond, residentMib: residentMax(vault.pid) };
    }
    return [
      { name: "streams_load", run: load },
      { name: "streams_start", run: start },
      { name: "streams_replay", run: replay },
    ];
  },
};

function residentMax(pid: number): number {
  return Math.round(readResidentBytes(pid, "VmHWM") / 1024 ** 2);
}
