import { Command } from "commander";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { measurePublish, measureReplay, measureTail } from "./bench-phases.ts";
import type { Latencies, Throughput } from "./bench-phases.ts";
import { describeBytes, describeCount, describeTable, toJsonFields, toJsonLine } from "./describe.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { parsePositive, parseSize } from "./parse.ts";

interface BenchOptions extends ConnectionOptions {
  readonly records: number;
  readonly recordBytes: number;
  readonly batch: number;
  readonly inFlight: number;
  readonly tailRecords: number;
  readonly keep?: boolean;
  readonly json?: boolean;
}

interface BenchResult {
  readonly publish: Throughput;
  readonly replay: Throughput;
  readonly tail: Latencies;
}

const examples = `
The command makes a stream of its own and deletes it when it is done. This process and the vault share the machine if
they run on one: for the vault's own limits see \`npm run bench\` in its repository.

Examples:
  $ message-vault bench
  $ message-vault bench --records 2000000 --address vault:50051 --json
`;

/** The command that measures a vault from outside. `finish` gets the exit code. */
export function createBenchCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("bench")
    .summary("measure publishing, replay and tailing")
    .description(
      "Publishes records as fast as they are taken, replays them, then measures how soon a tail has a record.",
    )
    .option("--records <count>", "how many records to publish and replay", parsePositive, 500_000)
    .option("--record-bytes <size>", "the size of a record's value", parseSize, 250)
    .option("--batch <count>", "how many records go into one request", parsePositive, 1000)
    .option("--in-flight <count>", "how many requests are under way at a time: 1 to 64", parsePositive, 16)
    .option("--tail-records <count>", "how many records are published one by one to a waiting tail", parsePositive, 300)
    .option("--keep", "do not delete the stream")
    .option("--json", "print JSON")
    .addHelpText("after", examples);
  return addConnectionOptions(command).action(async (options: BenchOptions) => {
    finish(await bench(io, options));
  });
}

async function bench(io: CliIo, options: BenchOptions): Promise<number> {
  return withClient(io, options, async (client) => {
    const stream = `bench-${io.clock.id()}`;
    const run = { client, clock: io.clock, stream, signal: io.interrupted };
    const { incarnation } = await client.createStream(stream);
    try {
      const publish = await measurePublish(run, options);
      const replay = await measureReplay(run, publish.recordCount);
      const tail = await measureTail(run, options);
      if (io.interrupted.aborted) return exitCodes.interrupted;
      const result = { publish, replay, tail };
      io.stdout.write(options.json === true ? toJson(stream, result) : toText(result));
      return exitCodes.done;
    } finally {
      if (options.keep === true) say(io, `the stream ${stream} was kept`);
      else await client.deleteStream(stream, incarnation);
    }
  });
}

function toJson(stream: string, { publish, replay, tail }: BenchResult): string {
  const toFields = ({ latencies, ...throughput }: Throughput) => ({
    ...toJsonFields(throughput),
    ...(latencies === undefined ? {} : { latency: toJsonFields(latencies) }),
  });
  return toJsonLine({ stream, publish: toFields(publish), replay: toFields(replay), tail: toJsonFields(tail) });
}

function toText({ publish, replay, tail }: BenchResult): string {
  const rows = [
    ["publish", ...describeThroughput(publish), ...describeLatencies(publish.latencies)],
    ["replay", ...describeThroughput(replay), ...describeLatencies(replay.latencies)],
    ["tail", describeCount(tail.sampleCount), "-", "-", ...describeLatencies(tail)],
  ];
  return describeTable(["PHASE", "RECORDS>", "RECORDS/S>", "BYTES/S>", "P50>", "P99>", "MAX>"], rows);
}

function describeThroughput({ recordCount, sizeBytes, seconds }: Throughput): string[] {
  const rate = describeCount(Math.round(recordCount / seconds));
  return [describeCount(recordCount), rate, describeBytes(Math.round(sizeBytes / seconds))];
}

function describeLatencies(latencies: Latencies | undefined): string[] {
  if (latencies === undefined) return ["-", "-", "-"];
  return [latencies.p50Ms, latencies.p99Ms, latencies.maxMs].map((delayMs) => `${delayMs.toFixed(2)} ms`);
}
